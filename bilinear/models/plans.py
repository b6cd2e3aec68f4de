"""The named backbones as data: their layers, names, feature maps and shapes for every framework.

A network is a tuple of layers in their order, with torchvision's names and layouts. `channels_last`
and `channels_first` convert an array between that and the layout of Keras and Flax.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import ml_dtypes
import numpy as np

from ..contract import refuse
from .inception import INCEPTION_V3
from .plan_layers import BatchNorm, Block, Conv, Layer, MaxPool, Mixed, Relu, Step, Unit, pair

Shape = tuple[int, ...]

IN_CHANNELS = 3
"""Channels of the images of pretrained weights: red, green and blue."""

DTYPES: dict[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
"""The dtypes a model may have, as NumPy holds them."""


def _vgg(*counts: int, norm: bool = False) -> tuple[Layer, ...]:
    """Groups of 3×3 convolutions with a maximum between groups; none after the last."""
    layers: list[Layer] = []
    inputs = IN_CHANNELS
    for count, outputs in zip(counts, (64, 128, 256, 512, 512), strict=True):
        if layers:
            layers.append(MaxPool(f"features.{len(layers)}", 2, 2))
        for _ in range(count):
            layers.append(Conv(f"features.{len(layers)}", inputs, outputs, 3, 1, 1, bias=True))
            if norm:
                layers.append(BatchNorm(f"features.{len(layers)}", outputs))
            layers.append(Relu(f"features.{len(layers)}"))
            inputs = outputs
    return tuple(layers)


def _resnet(*counts: int, bottleneck: bool = False) -> tuple[Layer, ...]:
    """Four groups of blocks; each group but the first halves the resolution."""
    layers: list[Layer] = [
        Conv("conv1", IN_CHANNELS, 64, 7, 2, 3),
        BatchNorm("bn1", 64),
        Relu("relu"),
        MaxPool("maxpool", 3, 2, 1),
    ]
    inputs = 64
    for group, (count, width) in enumerate(zip(counts, (64, 128, 256, 512), strict=True), 1):
        outputs = 4 * width if bottleneck else width
        for i in range(count):
            stride = 2 if group > 1 and i == 0 else 1
            name = f"layer{group}.{i}"
            layers.append(Block(name, inputs, outputs, stride, width if bottleneck else None))
            inputs = outputs
    return tuple(layers)


BACKBONES: dict[str, tuple[Layer, ...]] = {
    "vgg16": _vgg(2, 2, 3, 3, 3),
    "vgg16_bn": _vgg(2, 2, 3, 3, 3, norm=True),
    "vgg19": _vgg(2, 2, 4, 4, 4),
    "vgg19_bn": _vgg(2, 2, 4, 4, 4, norm=True),
    "resnet18": _resnet(2, 2, 2, 2),
    "resnet34": _resnet(3, 4, 6, 3),
    "resnet50": _resnet(3, 4, 6, 3, bottleneck=True),
    "resnet101": _resnet(3, 4, 23, 3, bottleneck=True),
    "inception_v3": INCEPTION_V3,
}
"""torchvision's networks: VGGs ``features`` up to the last ReLU, relu5_3 or relu5_4 (1/16 of the
image's size), ResNets up to layer4 (1/32), with the stride of a bottleneck on its 3×3, and
Inception v3 up to Mixed_7c (about 1/32)."""


def _channels(layers: Sequence[Layer]) -> list[int]:
    """The channels of the map that each layer gives."""
    found = [IN_CHANNELS]
    for layer in layers:
        own = isinstance(layer, (Conv, Block, Unit, Mixed))
        found.append(layer.outputs if own else found[-1])
    return found[1:]


KNOWN = ", ".join(BACKBONES)
"""The names in error messages."""

CHANNELS: dict[str, int] = {name: _channels(layers)[-1] for name, layers in BACKBONES.items()}


def _taps(layers: Sequence[Layer]) -> dict[str, str]:
    """``relu<group>_<i>`` of a VGG, each group of blocks of a ResNet, each layer of Inception."""
    taps: dict[str, str] = {}
    group, i = 1, 0
    for layer in layers:
        match layer:
            case MaxPool():
                group, i = group + 1, 0
            case Relu() if layer.name.startswith("features."):
                i += 1
                taps[f"relu{group}_{i}"] = layer.name
            case Block():
                taps[layer.name.partition(".")[0]] = layer.name
            case Unit() | Mixed():
                taps[layer.name] = layer.name
    return taps


TAPS: dict[str, dict[str, str]] = {name: _taps(layers) for name, layers in BACKBONES.items()}
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
    layers = BACKBONES[backbone]
    channels = {layer.name: c for layer, c in zip(layers, _channels(layers), strict=True)}
    return {TAPS[backbone][tap]: channels[TAPS[backbone][tap]] for tap in taps}


def cut(
    backbone: str, taps: Sequence[str] | None, in_channels: int = IN_CHANNELS
) -> tuple[Layer, ...]:
    """Return the layers up to the last tap, included; all of them without taps."""
    first, *rest = BACKBONES[backbone]
    layers = (first._replace(inputs=in_channels), *rest)
    if taps is None:
        return layers
    names = [layer.name for layer in layers]
    return layers[: 1 + max(names.index(TAPS[backbone][tap]) for tap in taps)]


def least_side(backbone: str, taps: Sequence[str] | None = None) -> int:
    """The least side of an image of which one location is left."""
    return max(_LEAST[backbone][tap] for tap in taps or (None,))


def _least(layers: Sequence[Layer | Step], side: int = 1) -> int:
    for layer in reversed(layers):
        match layer:
            case Conv() | MaxPool() | Unit():
                sizes = zip(pair(layer.kernel), pair(layer.padding), strict=True)
                rest = max(kernel - 2 * padding for kernel, padding in sizes)
                side = max(1, (side - 1) * layer.stride + rest)
            case Block():
                side = (side - 1) * layer.stride + 1
            case Mixed():
                side = max(_least(path, side) for path in layer.paths)
    return side


_LEAST: dict[str, dict[str | None, int]] = {
    name: {None: _least(layers)} | {tap: _least(cut(name, [tap])) for tap in TAPS[name]}
    for name, layers in BACKBONES.items()
}
"""Backbone -> the least side for each tap, or without taps. A table, because `torch.compile` and
`torch.export` of older releases do not trace the computation."""


def tensor_shapes(
    backbone: str, taps: Sequence[str] | None = None, in_channels: int = IN_CHANNELS
) -> dict[str, Shape]:
    """Return {name without prefix: shape} of a backbone's tensors, in torchvision's order."""
    if backbone not in BACKBONES:
        remedy = "Pass a custom network as a module, not by name."
        refuse(ValueError, "BCNN", f"backbone must be one of {KNOWN}", repr(backbone), remedy)
    layers = cut(backbone, taps, in_channels)
    return {name: shape for layer in layers for name, shape in _tensors(layer)}


def _tensors(layer: Layer) -> Iterator[tuple[str, Shape]]:
    match layer:
        case Conv():
            yield f"{layer.name}.weight", (layer.outputs, layer.inputs, *pair(layer.kernel))
            if layer.bias:
                yield f"{layer.name}.bias", (layer.outputs,)
        case BatchNorm():
            for part in ("weight", "bias", "running_mean", "running_var"):
                yield f"{layer.name}.{part}", (layer.channels,)
        case Block() | Unit() | Mixed():
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
    backbone: str | None,
    backbone_b: str | None,
    head: Head,
    taps: Sequence[str] | None = None,
    in_channels: int = IN_CHANNELS,
) -> dict[str, Shape]:
    """Return {name: shape} of streams, projections and classifier in canonical order."""
    shapes: dict[str, Shape] = {}
    for prefix, stream in (("backbone.", backbone), ("backbone_b.", backbone_b)):
        if stream is not None:
            own = tensor_shapes(stream, taps, in_channels)
            shapes |= {prefix + name: shape for name, shape in own.items()}
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
    in_channels: int = IN_CHANNELS,
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
    shapes = bcnn_shapes(backbone, backbone_b, head, taps, in_channels)
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
