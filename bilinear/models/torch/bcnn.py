"""The bilinear CNN as a PyTorch module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...backends.torch._tensors import spec
from ...contract import check_images
from ...data.images import Preprocessing
from ..arguments import (
    Channels,
    Taps,
    check_arguments,
    least_size,
    resolve_streams,
    several,
    starting_tensors,
)
from ..chosen import check_descriptors, check_learned, descriptor_size
from ..weights import weights_preprocessing
from .backbone import named_backbone
from .pool import chosen_pool, maker


class BCNN(nn.Module):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a module of your own from images to feature maps.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a layer of this package, or the name of one or of a preset, made for the maps with
            its defaults; or a module with a ``descriptor_size``. None is ``"BilinearPool"``. One
            that has ``num_classes`` gives the logits: no linear classifier follows it.
        projection: channels that the maps of each stream are projected to before they are
            pooled, by learned 1×1 convolutions without bias; None projects nothing.
        taps: maps of a named backbone to pool together instead of its last one, such as
            ``("relu5_1", "relu5_2", "relu5_3")`` or ``("layer3", "layer4")``.
        weights: ``"imagenet"``, the path of a ``.safetensors`` or torchvision ``.pth`` file or of
            an ``.h5`` file of Keras' VGG16, or a pair of those for two streams; None starts from
            `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams, a tuple for a
            backbone that returns several maps.
        seed: of the initial weights, equal in every framework; None leaves them unset.
        dtype: of the parameters, by name. A module of your own keeps its dtype.

    Shapes: images (N, 3, H, W), already normalised -> logits (N, num_classes). Maps of several
        sizes are resampled bilinearly to the smallest, axis by axis.
    Attributes: `preprocessing` and `classes` are what the images and logits mean, or None.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        num_classes: int,
        *,
        backbone_b: str | nn.Module | None = None,
        pool: str | nn.Module | None = None,
        projection: int | None = None,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        check_arguments(num_classes, dtype, seed)
        self.streams = resolve_streams(
            backbone,
            backbone_b,
            channels=channels,
            taps=taps,
            projection=projection,
            kind=nn.Module,
            word="torch.nn.Module",
        )
        self.num_classes = num_classes
        self.preprocessing: Preprocessing | None = weights_preprocessing(
            weights, *self.streams.names
        )
        self.classes: tuple[str, ...] | None = None
        chosen: Any = chosen_pool(pool, self.streams, num_classes, seed, dtype)
        size = descriptor_size(chosen, self.streams, num_classes)
        learned = {name: f"{p.dtype}"[len("torch.") :] for name, p in chosen.named_parameters()}
        check_learned(chosen, learned, dtype)
        tensors = starting_tensors(
            self.streams,
            num_classes,
            size,
            weights=weights,
            seed=seed,
            dtype=dtype,
            read_pth=read_pth,
        )
        self.backbone = _stream(backbone, dtype, taps)
        self.backbone_b = None if backbone_b is None else _stream(backbone_b, dtype)
        make, shapes = maker(dtype), self.streams.projections
        projections = [make("Projection", channels=c, dim=dim) for dim, c in shapes]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.pool = chosen
        self.classifier: Any = None
        if size is not None:
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
        first = several(self.backbone(images), self.streams)
        return first if self.backbone_b is None else (*first, self.backbone_b(images))

    def descriptors(self, images: Tensor) -> Tensor:
        """What the classifier sees: the pooled maps, (N, D)."""
        check_descriptors(self.pool)
        return self.pool(*self.pooled_maps(images))

    def pooled_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps as the pool takes them, (N, C, h, w): projected, and of one size."""
        return self.prepared(self.feature_maps(images))

    def prepared(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Feature maps as the pool takes them: projected, and of one size."""
        projections = [p for p in (self.projection, self.projection_b) if p is not None]
        if projections:
            maps = [project(x) for project, x in zip(projections, maps, strict=True)]
        return _matched(*maps)

    def logits(self, *maps: Tensor) -> Tensor:
        """What the model says of feature maps, such as `feature_maps` gives."""
        pooled = self.pool(*self.prepared(maps))
        return pooled if self.classifier is None else self.classifier(pooled)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(*self.feature_maps(images))

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


def _stream(backbone: str | nn.Module, dtype: str, taps: Taps = None) -> nn.Module:
    return _filled(named_backbone(backbone, taps), dtype) if isinstance(backbone, str) else backbone


def _filled(module: nn.Module, dtype: str) -> nn.Module:
    """`module`, so far on the meta device, with zeros on the device new modules are made on."""
    module = module.to(getattr(torch, dtype)).to_empty(device=torch.get_default_device())
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()
    return module


def _matched(*maps: Tensor) -> tuple[Tensor, ...]:
    """All maps at the smallest extent of each axis: half-pixel centres, no antialiasing."""
    if len(maps) == 1:
        return maps
    size = [min(sizes) for sizes in zip(*(x.shape[2:] for x in maps), strict=True)]
    return tuple(
        x
        if list(x.shape[2:]) == size
        else F.interpolate(x, size, mode="bilinear", align_corners=False)
        for x in maps
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
