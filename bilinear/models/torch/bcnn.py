"""The bilinear CNN as a PyTorch module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...backends.torch._tensors import spec
from ...backends.torch.layers import BilinearPool
from ...contract import check_images
from ...images import Preprocessing
from ..arguments import Channels, check_arguments, least_size, resolve_streams, starting_tensors
from .backbone import named_backbone


class BCNN(nn.Module):
    """Bilinear CNN: one or two feature extractors, `BilinearPool`, a linear classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a module of your own from images to feature maps.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a `BilinearPool`, or a module with its ``descriptor_size``; None is the default one.
        weights: ``"imagenet"``, the path of a ``.safetensors`` or torchvision ``.pth`` file, or
            a pair of those for two streams; None starts from `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams.
        seed: of the initial weights, equal in every framework; None leaves them unset.
        dtype: of the parameters, by name. A module of your own keeps its dtype.

    Shapes: images (N, 3, H, W), already normalised -> logits (N, num_classes). Streams of two
        sizes are resampled bilinearly to the smaller one, axis by axis.
    Attributes: `preprocessing` and `classes` are what the images and logits mean, or None.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        num_classes: int,
        *,
        backbone_b: str | nn.Module | None = None,
        pool: nn.Module | None = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        check_arguments(num_classes, dtype)
        self.streams = resolve_streams(backbone, backbone_b, channels, nn.Module, "torch.nn.Module")
        self.preprocessing: Preprocessing | None = None if weights is None else Preprocessing()
        self.classes: tuple[str, ...] | None = None
        self.pool: Any = BilinearPool() if pool is None else pool
        size = self.pool.descriptor_size(*self.streams.channels)
        tensors = starting_tensors(
            self.streams,
            num_classes,
            size,
            weights=weights,
            seed=seed,
            dtype=dtype,
            read_pth=read_pth,
        )
        self.backbone = _stream(backbone, dtype)
        self.backbone_b = None if backbone_b is None else _stream(backbone_b, dtype)
        self.classifier = _filled(nn.Linear(size, num_classes, device="meta"), dtype)
        self.assign(tensors)

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of each stream, (N, C, h, w), as its backbone gives them."""
        named = any(self.streams.names)
        check_images(
            spec("BCNN", "images", images),
            channels_first=True,
            channels=3 if named else None,
            least=least_size(self.streams),
        )
        first = self.backbone(images)
        return (first,) if self.backbone_b is None else (first, self.backbone_b(images))

    def descriptors(self, images: Tensor) -> Tensor:
        """What the classifier sees: the pooled maps, (N, C·D)."""
        return self.pool(*_matched(*self.feature_maps(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.descriptors(images))

    def canonical(self) -> dict[str, Tensor]:
        """Canonical name -> parameter or running statistic, in the order of the portable file."""
        state = self.state_dict(keep_vars=True)
        return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        with torch.no_grad():
            for name, array in tensors.items():
                own[name].copy_(as_tensor(array))


def _stream(backbone: str | nn.Module, dtype: str) -> nn.Module:
    return _filled(named_backbone(backbone), dtype) if isinstance(backbone, str) else backbone


def _filled(module: nn.Module, dtype: str) -> nn.Module:
    """`module`, so far on the meta device, with zeros on the device new modules are made on."""
    module = module.to(getattr(torch, dtype)).to_empty(device=torch.get_default_device())
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()
    return module


def _matched(first: Tensor, second: Tensor | None = None) -> tuple[Tensor, ...]:
    """Both maps at the smaller extent of each axis: half-pixel centres, no antialiasing."""
    if second is None:
        return (first,)
    size = [min(a, b) for a, b in zip(first.shape[2:], second.shape[2:], strict=True)]
    return tuple(
        x
        if list(x.shape[2:]) == size
        else F.interpolate(x, size, mode="bilinear", align_corners=False)
        for x in (first, second)
    )


def as_tensor(array: np.ndarray) -> Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(array))


def as_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def read_pth(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a torchvision checkpoint, read without trusting its pickle."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: as_array(value) for name, value in state.items()}
