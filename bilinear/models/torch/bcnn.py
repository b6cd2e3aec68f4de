"""The bilinear CNN as a PyTorch module."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..construction import resolve_parts
from ..hub import Hub
from ..network import Network
from ..pools import check_descriptors, check_learned, remake_pool
from ..portable import Files
from ..streams import AUTO, Channels, Projected, StreamArguments, Streams, Taps, as_maps
from . import framework
from .backbone import named_backbone


class BCNN(nn.Module, Network[Tensor]):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: name of a torchvision network: ``"vgg16"``, ``"vgg19"``, ``"vgg16_bn"`` or
            ``"vgg19_bn"`` (up to the last ReLU, 1/16 of the image's size), ``"resnet18"``,
            ``"resnet34"``, ``"resnet50"`` or ``"resnet101"`` (up to layer4, 1/32), or
            ``"inception_v3"`` (up to Mixed_7c, about 1/32); or a `torch.nn.Module` that
            maps images to feature maps.
        num_classes: number of classes, at least 1: the length of the logits.
        backbone_b: backbone of a second stream on the same image; None for one stream.
        pool: a pooling layer; the name of a layer or preset, which is made for the model; or a
            dictionary with its ``"name"`` and arguments, such as
            ``{"name": "CompactBilinearPool", "dim": 1024}``. A custom pool needs a
            ``descriptor_size`` method; one with a ``num_classes`` attribute computes the logits
            without a linear classifier. None is ``"BilinearPool"``.
        projection: number of channels, at least 1, to which a learned 1×1 convolution without bias
            projects the feature maps of each stream before pooling; None for no projection. The
            default ``"auto"`` is 256, with a warning, where a descriptor of a pool of this package
            would have more than 2¹⁹ values, as that of 2048 channels; otherwise None.
        taps: names of the feature maps of a named backbone that the pool receives instead of its
            last one, such as ``("relu5_1", "relu5_2", "relu5_3")`` or ``("layer3", "layer4")``.
        weights: initial weights of the named backbones: ``"imagenet"``, the path of a
            ``.safetensors`` file, a torchvision ``.pth`` file or an ``.h5`` file of Keras' VGG16,
            or a pair of these for two streams. A portable file, written by `save`, gives its
            backbones, projection and pool; `backbone_b`, `pool`, `projection` and `taps` must be
            None or equal to the file's. The classifier is new. None draws all from `seed`.
        channels: number of channels of the feature maps of a custom backbone; a pair for two
            streams, a tuple for a backbone that returns several maps. None for named backbones.
        in_channels: number of channels of the images; None is 3, or that of a portable file.
            `weights` for color images are adapted: one channel takes the sum of the kernels of
            red, green and blue, and more channels take these in turn, times 3 / `in_channels`.
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        device: of the parameters and buffers; None is torch's default device. Custom modules and
            pools are not moved.
        dtype: of the parameters: ``torch.float16``, ``bfloat16``, ``float32`` or ``float64``, or
            its name; None is ``torch.get_default_dtype()``. Custom modules keep theirs.

    Shape: images (N, C, H, W) of `in_channels`, already normalized -> logits (N, num_classes).
        Feature maps of several sizes are resampled bilinearly to the smallest, axis by axis.
    Attributes: `preprocessing` of the images and `classes`, the class names; None if unknown.
    Raises: ValueError or TypeError for inconsistent arguments, before any layer is built; for
        `weights`, the errors of `load`.
    Example:
        >>> model = BCNN("resnet18", 50, weights="imagenet", projection=64)  # doctest: +SKIP
        >>> model(torch.zeros(2, 3, 448, 448)).shape  # doctest: +SKIP
        torch.Size([2, 50])

    References: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    _framework = framework

    def __init__(
        self,
        backbone: str | nn.Module,
        num_classes: int,
        *,
        backbone_b: str | nn.Module | None = None,
        pool: str | Mapping[str, Any] | nn.Module | None = None,
        projection: Projected = AUTO,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        in_channels: int | None = None,
        seed: int | None = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__()
        dtype = torch.get_default_dtype() if dtype is None else dtype
        dtype = framework.dtype_name(dtype) if isinstance(dtype, torch.dtype) else dtype
        make = partial(framework.layer, dtype=dtype, device=device)
        given = StreamArguments(backbone, backbone_b, channels, taps, projection, in_channels)
        parts = resolve_parts(framework, make, given, num_classes, pool, weights, seed, dtype)
        learned = {name: framework.spec(p).dtype for name, p in parts.pool.named_parameters()}
        check_learned(parts.pool, learned, dtype)
        self._set_attributes(parts, num_classes)
        self.backbone = _stream(parts.given.backbone, dtype, device, self.streams)
        self.backbone_b = _stream(parts.given.backbone_b, dtype, device, self.streams)
        shapes = self.streams.projections
        projections = [make("Projection", channels=c, dim=dim) for dim, c in shapes]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.pool = parts.pool
        self.classifier = self._linear(num_classes, dtype, device)
        self.assign(parts.tensors(self.specs))

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of each stream, (N, C, h, w), the output of its backbone."""
        self.streams.check_images(framework.input_spec("images", images), channels_first=True)
        first = as_maps(self.backbone(images))
        return first if self.backbone_b is None else (*first, self.backbone_b(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(*self.feature_maps(images))

    def forward_features(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the feature map of the backbone, or a tuple of several maps, as in timm."""
        maps = self.feature_maps(images)
        return maps[0] if len(maps) == 1 else maps

    def forward_head(self, features: Tensor | Sequence[Tensor], pre_logits: bool = False) -> Tensor:
        """Return the logits of the output of `forward_features`, as in timm.

        Args:
            features: a feature map, or several.
            pre_logits: return the descriptors, (N, D), instead of the logits.
        """
        maps = (features,) if isinstance(features, Tensor) else features
        if not pre_logits:
            return self.logits(*maps)
        check_descriptors(self.pool)
        return self.pool(*self.prepared(maps))

    def get_classifier(self) -> nn.Module:
        """Return the linear classifier, or the pool if it computes the logits, as in timm."""
        return self.pool if self.classifier is None else self.classifier

    def _linear(self, num_classes: int, dtype: str, device: Any) -> nn.Module | None:
        if self._size is None:
            return None
        return _filled(nn.Linear(self._size, num_classes, device="meta"), dtype, device)

    def _replace_last(self, num_classes: int, seed: int | None) -> str:
        weight = next(self.get_classifier().parameters())
        dtype, device = framework.dtype_name(weight.dtype), weight.device
        make = partial(framework.layer, dtype=dtype, device=device)
        self.pool = remake_pool(self.pool, make, num_classes, seed)
        self.classifier = self._linear(num_classes, dtype, device)
        self.get_classifier().train(self.training)
        return dtype

    def canonical(self) -> dict[str, Tensor]:
        """Return parameters and statistics by canonical name, in the order of the portable file.

        The momentum that `save` takes has these names: with a `torch.optim.SGD`,
        ``{name: optimizer.state[p]["momentum_buffer"] for name, p in named_parameters()}``.
        """
        state = self.state_dict(keep_vars=True).items()
        plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in state}  # of compile
        return {k: v for k, v in plain.items() if not k.endswith("num_batches_tracked")}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        with torch.no_grad():
            for name, array in tensors.items():
                own[name].copy_(framework.from_numpy(array))


def _stream(backbone: Any, dtype: str, device: Any, streams: Streams) -> Any:
    if not isinstance(backbone, str):
        return backbone
    return _filled(named_backbone(backbone, streams.taps, streams.in_channels), dtype, device)


def _filled(module: nn.Module, dtype: str, device: Any) -> nn.Module:
    """Move `module` from the meta device to `device`, with zeros."""
    device = torch.get_default_device() if device is None else device
    module = module.to(getattr(torch, dtype)).to_empty(device=device)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()
    return module


_FILES = Files[BCNN, Tensor](BCNN, framework)
_HUB = Hub[BCNN, Tensor](_FILES)

save = _FILES.save
load = _FILES.load
load_image = _FILES.load_image
import_checkpoint = _FILES.import_checkpoint
push_to_hub = _HUB.push_to_hub
from_pretrained = _HUB.from_pretrained
