"""Shapes, dtypes and devices of arrays, described without a framework, and their checks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import refuse, type_name

ACCUMULATION = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float32",
    "float64": "float64",
}
"""For each dtype that operators accept, the dtype in which they compute sums, roots and norms."""

RANGE = {
    "float32": (2.0**-126, (2.0 - 2.0**-23) * 2.0**127),
    "float64": (2.0**-1022, (2.0 - 2.0**-52) * 2.0**1023),
}
"""The smallest normal and the largest finite number of each accumulation dtype."""


class Spec(NamedTuple):
    """Shape, dtype name and device of an array; a shape or size that is unknown is None."""

    shape: Sequence[Any] | None
    dtype: str
    device: Any = None


# Backends that can check a size only at run time quote these texts too.

EMPTY = "every sample needs at least one location and one channel"
EMPTY_REMEDY = "Only the batch axis may be empty (it gives an empty result)."
SAME_BATCH = "x and y must hold the same number of samples"
SAME_BATCH_REMEDY = "Both streams must describe the same batch of images."
SAME_LOCATIONS = "x and y must describe the same locations"
SAME_LOCATIONS_REMEDY = "Resample or crop one of them first (BCNN resamples its streams by itself)."
MASK_SHAPE = "mask must have one entry for each location of each sample"
MASK_SHAPE_REMEDY = "Resize the mask to the size of the feature map, without a channel axis."
LAYOUT_REMEDY = "Reshape it to that layout."
LAST_AXIS = "z needs a last axis with at least one entry"
LAST_AXIS_REMEDY = "Only other axes may be empty."
SINGLE_VALUE = "in training each channel needs more than one value"
SINGLE_VALUE_REMEDY = "Use a larger batch or larger images, or evaluation mode."


def shape_text(shape: Sequence[Any] | None) -> str:
    if shape is None:
        return "a shape of unknown rank"
    sizes = ["?" if size is None else f"{size}" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def pair_text(x: Spec, y: Spec) -> str:
    return f"x {shape_text(x.shape)} and y {shape_text(y.shape)}"


def channels_of(x: Spec) -> Any:
    """The last size of `x`, None where it is not known yet."""
    return None if x.shape is None else x.shape[-1]


def differ(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two shapes cannot be equal, given the sizes known so far."""
    if len(a) != len(b):
        return True
    return any(p is not None and q is not None and p != q for p, q in zip(a, b, strict=True))


def check_tensor(
    op: str, name: str, value: object, kind: type | tuple[type, ...], word: str
) -> None:
    """TypeError unless `value` is an array of the framework, which is called `word`."""
    if not isinstance(value, kind):
        remedy = f"Convert it to a {word}."
        refuse(TypeError, op, f"{name} must be a {word}", type_name(value), remedy)


def check_float(op: str, name: str, dtype: str) -> None:
    """TypeError unless operators are specified for `dtype`."""
    if dtype not in ACCUMULATION:
        known = ", ".join(ACCUMULATION)
        requirement = f"{name} must be of a real floating type ({known})"
        refuse(TypeError, op, requirement, dtype, f"Cast {name}.")


def check_operands(
    op: str,
    x: Spec,
    y: Spec | None = None,
    mask: Spec | None = None,
    *,
    channels_first: bool = False,
    rank: int | None = None,
) -> None:
    """Check features (`rank` 3) or maps; sizes that are None are left to the backend's run time."""
    for name, spec in (("x", x), ("y", y)):
        if spec is None:
            continue
        if spec.dtype not in ACCUMULATION:
            check_float(op, name, spec.dtype)
        if spec.shape is None:
            continue
        if len(spec.shape) != rank if rank else len(spec.shape) < 2:
            layout = "(N, C, *spatial)" if channels_first else "(N, *spatial, C)"
            requirement = f"{name} must be {'(N, L, C)' if rank else layout}"
            received = f"{name} {shape_text(spec.shape)}"
            refuse(ValueError, op, requirement, received, LAYOUT_REMEDY)
        for size in spec.shape[1:]:
            if size is not None and size == 0:
                refuse(ValueError, op, EMPTY, f"{name} {shape_text(spec.shape)}", EMPTY_REMEDY)
    if y is not None:
        _check_pair(op, x, y, channels_first)
    if mask is not None:
        _check_mask(op, x, mask, channels_first)
    if (y is not None and y.device != x.device) or (mask is not None and mask.device != x.device):
        given = {"x": x, "y": y, "mask": mask}
        check_same_device(op, {k: f"{s.device}" for k, s in given.items() if s is not None})


def _spatial(shape: Sequence[Any], channels_first: bool) -> tuple[Any, ...]:
    return tuple(shape[2:] if channels_first else shape[1:-1])


def _check_pair(op: str, x: Spec, y: Spec, channels_first: bool) -> None:
    if x.dtype != y.dtype:
        received = f"x {x.dtype} and y {y.dtype}"
        refuse(TypeError, op, "x and y must have the same dtype", received, "Cast one of them.")
    if x.shape is None or y.shape is None:
        return
    if differ(x.shape[:1], y.shape[:1]):  # sizes in a text only for an error: Dynamo fixes them
        refuse(ValueError, op, SAME_BATCH, pair_text(x, y), SAME_BATCH_REMEDY)
    if differ(_spatial(x.shape, channels_first), _spatial(y.shape, channels_first)):
        refuse(ValueError, op, SAME_LOCATIONS, pair_text(x, y), SAME_LOCATIONS_REMEDY)


def _check_mask(op: str, x: Spec, mask: Spec, channels_first: bool) -> None:
    if mask.dtype != "bool":
        remedy = "It selects locations; to weight them, scale x instead."
        refuse(TypeError, op, "mask must be boolean", mask.dtype, remedy)
    if x.shape is None or mask.shape is None:
        return
    if differ(mask.shape, (x.shape[0], *_spatial(x.shape, channels_first))):
        received = f"mask {shape_text(mask.shape)} for x {shape_text(x.shape)}"
        refuse(ValueError, op, MASK_SHAPE, received, MASK_SHAPE_REMEDY)


def check_last_axis(op: str, z: Spec) -> None:
    """ValueError unless z has a last axis that is not empty."""
    check_float(op, "z", z.dtype)
    if z.shape is None:
        return
    if len(z.shape) == 0 or (z.shape[-1] is not None and z.shape[-1] == 0):
        refuse(ValueError, op, LAST_AXIS, f"z {shape_text(z.shape)}", LAST_AXIS_REMEDY)


def check_same_device(op: str, devices: dict[str, str]) -> None:
    """TypeError unless all the named arrays are on one device."""
    if len(set(devices.values())) > 1:
        received = ", ".join(f"{name} on {device}" for name, device in devices.items())
        refuse(TypeError, op, "all arrays must be on one device", received, "Move them to one.")


def check_weight(
    op: str,
    name: str,
    weight: Spec,
    x: Spec,
    layout: str,
    expected: Sequence[Any],
    *,
    empty: int | None = None,
) -> None:
    """Check a weight of the dtype of `x`, as far as sizes are known; only axis `empty` may be 0."""
    check_float(op, name, weight.dtype)
    if weight.dtype != x.dtype:
        received = f"x {x.dtype} and {name} {weight.dtype}"
        requirement = f"x and {name} must have the same dtype"
        refuse(TypeError, op, requirement, received, "Cast one of them.")
    if weight.shape is None:
        return
    received = f"{name} {shape_text(weight.shape)}"
    if differ(weight.shape, expected):
        if x.shape is not None:
            received += f" for x {shape_text(x.shape)}"
        remedy = "Its sizes must fit the features and the other weights."
        refuse(ValueError, op, f"{name} must be {layout}", received, remedy)
    if any(size == 0 for axis, size in enumerate(weight.shape) if axis != empty):
        refuse(ValueError, op, f"{name} must not be empty", received)


def check_batch_norm(shape: Sequence[Any], channel_axis: int) -> None:
    """In training each channel needs two values: a single one has no variance."""
    rest = [size for axis, size in enumerate(shape) if axis != channel_axis]
    if None not in rest and math.prod(rest) == 1:
        refuse(ValueError, "BatchNorm", SINGLE_VALUE, shape_text(shape), SINGLE_VALUE_REMEDY)


def check_images(images: Spec, *, channels_first: bool, channels: int | None, least: int) -> None:
    """Check a batch of images; `channels` is None for a custom network, `least` the least side."""
    layout = f"(N, {channels}, H, W)" if channels_first else f"(N, H, W, {channels})"
    if images.dtype not in ACCUMULATION:
        remedy = "load_image returns what the model takes; raw pixels must be normalized first."
        refuse(TypeError, "BCNN", "images must be normalized real numbers", images.dtype, remedy)
    if images.shape is None or channels is None:
        return
    received = shape_text(images.shape)
    if len(images.shape) != 4 or images.shape[1 if channels_first else 3] not in (channels, None):
        remedy = "Add a batch axis, or move the color axis."
        refuse(ValueError, "BCNN", f"images must be {layout}", received, remedy)
    if any(size is not None and size < least for size in _spatial(images.shape, channels_first)):
        requirement = f"images must be at least {least} × {least}"
        refuse(ValueError, "BCNN", requirement, received, "Load them larger.")


def check_feature_maps(
    maps: Sequence[Spec], channels: Sequence[int], *, channels_first: bool
) -> None:
    """Check that a model gets a map for each of `channels`, and can resample them to one size."""
    op, shapes = "BCNN", [x.shape for x in maps if x.shape is not None]
    if len(maps) != len(channels):
        remedy = "Pass channels= with one entry for each map that your network returns."
        received = f"{len(maps)}"
        refuse(ValueError, op, f"the backbone must give {len(channels)} maps", received, remedy)
    for shape, count in zip(shapes, channels, strict=False):
        if len(shape) < 2 or shape[1 if channels_first else -1] not in (count, None):
            layout = f"(N, {count}, *spatial)" if channels_first else f"(N, *spatial, {count})"
            remedy = "Move its channel axis there, or pass its channels=."
            refuse(ValueError, op, f"a feature map must be {layout}", shape_text(shape), remedy)
    sizes = [_spatial(shape, channels_first) for shape in shapes]
    if {len(own) for own in sizes} - {2} and any(differ(own, sizes[0]) for own in sizes):
        requirement = "feature maps of different sizes must have two spatial axes"
        remedy = "Reshape tokens to the rows and columns of their patches."
        refuse(ValueError, op, requirement, " and ".join(map(shape_text, shapes)), remedy)
