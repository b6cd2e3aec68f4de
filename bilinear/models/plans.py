"""VGG16 and ResNet18 as data: the layers, names, feature maps and shapes for every framework.

A network is a tuple of layers in their order, with torchvision's names and layouts. `channels_last`
and `channels_first` convert an array between that and the layout of Keras and Flax.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import ml_dtypes
import numpy as np

from ..contract import refuse

BN_EPS = 1e-5
"""BatchNorm divides by √(variance + eps)."""
BN_MOMENTUM = 0.1
"""Running statistics: ``(1 − momentum) · old + momentum · new``, new with unbiased variance."""

Shape = tuple[int, ...]

DTYPES: dict[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
"""The dtypes a model may have, as NumPy holds them."""


class Conv(NamedTuple):
    """A square convolution, zero padded by `padding` on every side."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = False


class BatchNorm(NamedTuple):
    name: str
    channels: int


class Relu(NamedTuple):
    name: str


class MaxPool(NamedTuple):
    """A square maximum, padded by -inf on every side; an incomplete last window is dropped."""

    name: str
    kernel: int
    stride: int
    padding: int = 0


class Block(NamedTuple):
    """``relu(bn2 conv2 relu(bn1 conv1 x) + shortcut x)``; the shortcut is x or `downsample`."""

    name: str
    inputs: int
    outputs: int
    stride: int = 1

    @property
    def conv1(self) -> Conv:
        return Conv(f"{self.name}.conv1", self.inputs, self.outputs, 3, self.stride, 1)

    @property
    def bn1(self) -> BatchNorm:
        return BatchNorm(f"{self.name}.bn1", self.outputs)

    @property
    def conv2(self) -> Conv:
        return Conv(f"{self.name}.conv2", self.outputs, self.outputs, 3, 1, 1)

    @property
    def bn2(self) -> BatchNorm:
        return BatchNorm(f"{self.name}.bn2", self.outputs)

    @property
    def downsample(self) -> tuple[Conv, BatchNorm] | None:
        if self.stride == 1 and self.inputs == self.outputs:
            return None
        conv = Conv(f"{self.name}.downsample.0", self.inputs, self.outputs, 1, self.stride)
        return conv, BatchNorm(f"{self.name}.downsample.1", self.outputs)

    @property
    def layers(self) -> tuple[Conv | BatchNorm, ...]:
        """All layers with tensors."""
        return self.conv1, self.bn1, self.conv2, self.bn2, *(self.downsample or ())


Layer = Conv | BatchNorm | Relu | MaxPool | Block


def _vgg(widths: tuple[tuple[int, ...], ...]) -> tuple[Layer, ...]:
    """Groups of 3×3 convolutions with a maximum between groups; none after the last."""
    layers: list[Layer] = []
    inputs = 3
    for group in widths:
        if layers:
            layers.append(MaxPool(f"features.{len(layers)}", 2, 2))
        for outputs in group:
            layers.append(Conv(f"features.{len(layers)}", inputs, outputs, 3, 1, 1, bias=True))
            layers.append(Relu(f"features.{len(layers)}"))
            inputs = outputs
    return tuple(layers)


VGG16 = _vgg(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3))
"""torchvision's ``vgg16().features[0:30]``, up to and with relu5_3: 1/16 of the image's size."""

RESNET18: tuple[Layer, ...] = (
    Conv("conv1", 3, 64, 7, 2, 3),
    BatchNorm("bn1", 64),
    Relu("relu"),
    MaxPool("maxpool", 3, 2, 1),
    Block("layer1.0", 64, 64),
    Block("layer1.1", 64, 64),
    Block("layer2.0", 64, 128, 2),
    Block("layer2.1", 128, 128),
    Block("layer3.0", 128, 256, 2),
    Block("layer3.1", 256, 256),
    Block("layer4.0", 256, 512, 2),
    Block("layer4.1", 512, 512),
)
"""torchvision's ``resnet18()`` up to and with layer4: 1/32 of the image's size."""

BACKBONES: dict[str, tuple[Layer, ...]] = {"vgg16": VGG16, "resnet18": RESNET18}
CHANNELS: dict[str, int] = {"vgg16": 512, "resnet18": 512}

TAPS: dict[str, dict[str, str]] = {
    "vgg16": {
        f"relu{group}_{i}": f"features.{start + 2 * i - 1}"
        for group, (start, count) in enumerate(((0, 2), (5, 2), (10, 3), (17, 3), (24, 3)), 1)
        for i in range(1, count + 1)
    },
    "resnet18": {f"layer{group}": f"layer{group}.1" for group in (1, 2, 3, 4)},
}
"""Backbone -> feature map, by the name in the papers -> the layer that gives it."""


def is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def are_taps(backbone: str, taps: object) -> bool:
    """Whether `taps` are one or more different feature maps of a named backbone."""
    if not isinstance(taps, (tuple, list)) or not taps:
        return False
    known = all(isinstance(tap, str) and tap in TAPS[backbone] for tap in taps)
    return known and len(set(taps)) == len(taps)


def tapped(backbone: str, taps: Sequence[str]) -> dict[str, int]:
    """Return {layer: channels of the map that it gives}, in the order of `taps`."""
    channels, result = 3, {}
    for layer in BACKBONES[backbone]:
        channels = layer.outputs if isinstance(layer, (Conv, Block)) else channels
        result[layer.name] = channels
    return {TAPS[backbone][tap]: result[TAPS[backbone][tap]] for tap in taps}


def cut(backbone: str, taps: Sequence[str] | None) -> tuple[Layer, ...]:
    """Return the layers up to the last tap, included; all of them without taps."""
    layers = BACKBONES[backbone]
    if taps is None:
        return layers
    names = [layer.name for layer in layers]
    return layers[: 1 + max(names.index(TAPS[backbone][tap]) for tap in taps)]


def tensor_shapes(backbone: str, taps: Sequence[str] | None = None) -> dict[str, Shape]:
    """Return {name without prefix: shape} of a backbone's tensors, in torchvision's order."""
    if backbone not in BACKBONES:
        known = " or ".join(repr(name) for name in BACKBONES)
        remedy = "Pass a custom network as a module, not by name."
        refuse(ValueError, "BCNN", f"backbone must be {known}", repr(backbone), remedy)
    return {name: shape for layer in cut(backbone, taps) for name, shape in _tensors(layer)}


def _tensors(layer: Layer) -> Iterator[tuple[str, Shape]]:
    match layer:
        case Conv():
            yield f"{layer.name}.weight", (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
            if layer.bias:
                yield f"{layer.name}.bias", (layer.outputs,)
        case BatchNorm():
            for part in ("weight", "bias", "running_mean", "running_var"):
                yield f"{layer.name}.{part}", (layer.channels,)
        case Block():
            for part in layer.layers:
                yield from _tensors(part)


class Head(NamedTuple):
    """The sizes of a B-CNN's projections and classifier."""

    num_classes: int
    descriptor_size: int | None
    """None where the pool gives the logits itself, and no classifier follows it."""
    projections: tuple[Shape, ...] = ()
    """(dim, channels) of the projection of each stream; none without projections."""


def bcnn_shapes(
    backbone: str | None, backbone_b: str | None, head: Head, taps: Sequence[str] | None = None
) -> dict[str, Shape]:
    """Return {name: shape} of streams, projections and classifier in canonical order."""
    shapes: dict[str, Shape] = {}
    for prefix, stream in (("backbone.", backbone), ("backbone_b.", backbone_b)):
        if stream is not None:
            shapes |= {prefix + name: shape for name, shape in tensor_shapes(stream, taps).items()}
    shapes |= zip(("projection.weight", "projection_b.weight"), head.projections, strict=False)
    if head.descriptor_size is not None:
        shapes["classifier.weight"] = (head.num_classes, head.descriptor_size)
        shapes["classifier.bias"] = (head.num_classes,)
    return shapes


def is_parameter(name: str) -> bool:
    """Whether a canonical tensor is a parameter, not a running statistic of BatchNorm."""
    return not name.endswith((".running_mean", ".running_var"))


def initial_tensors(
    backbone: str | None,
    backbone_b: str | None,
    head: Head,
    taps: Sequence[str] | None = None,
    *,
    seed: int | None,
    dtype: str = "float32",
) -> dict[str, np.ndarray]:
    """Draw the tensors of an untrained B-CNN by canonical name, equal for every framework.

    One generator, in the order of `bcnn_shapes`: convolutions ``N(0, 2 / (outputs · kh · kw))``
    (Kaiming, fan-out, for ReLU), projections ``N(0, 1 / channels)``, the classifier
    ``N(0, 0.01²)``, BatchNorm's weight and variance 1, all else 0. Values are drawn in float64
    and rounded once, so dtypes differ by rounding. `seed` None draws others each time.
    """
    rng = np.random.default_rng(seed)
    kind = DTYPES[dtype]
    shapes = bcnn_shapes(backbone, backbone_b, head, taps)
    return {name: _initial(rng, name, shape, kind) for name, shape in shapes.items()}


def _initial(rng: np.random.Generator, name: str, shape: Shape, dtype: np.dtype) -> np.ndarray:
    if len(shape) == 4:
        outputs, _, height, width = shape
        return _normal(rng, shape, math.sqrt(2 / (outputs * height * width)), dtype)
    if len(shape) == 2:
        std = 1 / math.sqrt(shape[1]) if name.startswith("projection") else 0.01
        return _normal(rng, shape, std, dtype)
    return np.full(shape, float(name.endswith((".weight", ".running_var"))), dtype)


def _normal(rng: np.random.Generator, shape: Shape, std: float, dtype: np.dtype) -> np.ndarray:
    """Draw a few rows at a time: a classifier of 200 classes would be 420 MB in float64."""
    result = np.empty(shape, dtype)
    rows = max(1, 2**20 // math.prod(shape[1:]))
    for start in range(0, shape[0], rows):
        part = result[start : start + rows]
        part[...] = (rng.standard_normal(part.shape) * std).astype(dtype)
    return result


def channels_last(array: np.ndarray) -> np.ndarray:
    """Convert canonical to channels-last: OIHW -> HWIO, (out, in) -> (in, out)."""
    return _permuted(array, {4: (2, 3, 1, 0), 2: (1, 0)})


def channels_first(array: np.ndarray) -> np.ndarray:
    """Convert channels-last to canonical: HWIO -> OIHW, (in, out) -> (out, in)."""
    return _permuted(array, {4: (3, 2, 0, 1), 2: (1, 0)})


def _permuted(array: np.ndarray, axes: dict[int, tuple[int, ...]]) -> np.ndarray:
    order = axes.get(array.ndim)
    # ascontiguousarray would turn a scalar into a vector
    return np.asarray(array if order is None else array.transpose(order), order="C")
