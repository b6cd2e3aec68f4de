"""The contract every backend keeps: shapes, dtypes, defaults, and what an error says.

Nothing here knows a framework. A backend describes its arrays with `Spec` (a shape, whose
unknown sizes are None, and a dtype name such as ``"float32"``) and calls the check of its
operator before any compute, so every door raises the same sentence for the same mistake:

    {operator}: {invariant}; got {received}. {remedy}

ValueError speaks of shapes and values, TypeError of dtypes, devices and kinds.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

Reduction = Literal["mean", "sum"]

REDUCTIONS = ("mean", "sum")
EPS = 1e-10
"""Default eps of the signed square root, inside the root."""
L2_EPS = 1e-12
"""Default floor on the norm in the L2 normalisation."""
DIM = 8192
"""Default width where the descriptor's is free: that of Gao et al. 2016 and Yu et al. 2018."""

ACCUMULATION = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float32",
    "float64": "float64",
}
"""For each dtype an operator accepts, the dtype its sums, roots and norms are computed in."""

_RANGE = {  # smallest normal and largest finite number of each accumulation type
    "float32": (2.0**-126, (2.0 - 2.0**-23) * 2.0**127),
    "float64": (2.0**-1022, (2.0 - 2.0**-52) * 2.0**1023),
}


class Spec(NamedTuple):
    """What the contract needs to know of an array: its shape and the name of its dtype.

    `shape` is None where even the rank is unknown, and an entry is None where that size is.
    """

    shape: Sequence[Any] | None
    dtype: str


def _shape_text(shape: Sequence[Any] | None) -> str:
    if shape is None:
        return "a shape of unknown rank"
    sizes = ["?" if size is None else f"{size}" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def message(op: str, invariant: str, received: str, remedy: str) -> str:
    """The one form of every error text: invariant, received, remedy."""
    return f"{op}: {invariant}; got {received}. {remedy}"


def refuse(
    kind: Callable[[str], Exception], op: str, invariant: str, received: str, remedy: str
) -> NoReturn:
    raise kind(message(op, invariant, received, remedy))


# --- single invariants, in words: a backend that can only check at run time quotes them too ---

EMPTY = "every sample needs at least one location and one channel"
EMPTY_REMEDY = "Only the batch axis may be empty (it gives an empty result)."
SAME_BATCH = "x and y must hold the same number of samples"
SAME_BATCH_REMEDY = "Both streams must describe the same batch of images."
SAME_PLACES = "x and y must describe the same locations"
SAME_PLACES_REMEDY = "Resample or crop one of them first (BCNN resamples its streams by itself)."
MASK_SHAPE = "mask must have one entry for each location of each sample"
MASK_SHAPE_REMEDY = "Bring the mask to the resolution of the feature map, without a channel axis."
LAYOUT_REMEDY = "Reshape it to that layout."
LAST_AXIS = "z needs a last axis with at least one entry"
LAST_AXIS_REMEDY = "Only other axes may be empty."
LONE_VALUE = "in training each channel needs more than one value"
LONE_VALUE_REMEDY = "Use a larger batch or larger images, or evaluation mode."


def check_tensor(op: str, name: str, value: object, kind: type | tuple[type, ...], word: str):
    """TypeError unless `value` is one of the framework's own arrays, called `word`."""
    if not isinstance(value, kind):
        received = f"{type(value).__module__}.{type(value).__qualname__}"
        refuse(TypeError, op, f"{name} must be a {word}", received, f"Convert it to a {word}.")


def check_float(op: str, name: str, dtype: str) -> None:
    """TypeError unless `dtype` is one the operators are specified for."""
    if dtype not in ACCUMULATION:
        known = ", ".join(ACCUMULATION)
        refuse(
            TypeError,
            op,
            f"{name} must be of a real floating type ({known})",
            dtype,
            f"Cast {name}.",
        )


def check_number(op: str, name: str, value: object) -> None:
    """TypeError unless `value` is a Python (or NumPy) real number, never a traced one."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        received = f"{type(value).__module__}.{type(value).__qualname__}"
        remedy = f"Pass a number; {name} is a constant of the operator and is never traced."
        refuse(TypeError, op, f"{name} must be a Python number", received, remedy)


def check_eps(op: str, eps: float, dtype: str, *, name: str = "eps") -> None:
    """The eps of the signed root: 0, or a number the accumulation type can hold."""
    check_number(op, name, eps)
    low, high = _RANGE[ACCUMULATION[dtype]]
    if not (eps == 0 or low <= float(eps) <= high):
        wide = ACCUMULATION[dtype]
        invariant = f"{name} must be 0 or a normal positive number of {wide}"
        refuse(ValueError, op, invariant, f"{eps!r}", f"Use 0 or a value from {low:.3g} up.")


def check_floor(op: str, eps: float, dtype: str, *, name: str = "eps") -> None:
    """The floor of the L2 norm: positive, and representable in the accumulation type."""
    check_number(op, name, eps)
    low, high = _RANGE[ACCUMULATION[dtype]]
    if not low <= float(eps) <= high:
        wide = ACCUMULATION[dtype]
        invariant = f"{name} must be a normal positive number of {wide}"
        remedy = "It is the floor under the norm, and the zero vector is divided by it."
        refuse(ValueError, op, invariant, f"{eps!r}", remedy)


def check_reduction(op: str, reduction: object) -> None:
    if reduction not in REDUCTIONS:
        invariant = "reduction must be 'mean' or 'sum'"
        remedy = "'mean' divides by the number of locations kept, 'sum' does not."
        refuse(ValueError, op, invariant, repr(reduction), remedy)


def check_operands(
    op: str,
    x: Spec,
    y: Spec | None = None,
    mask: Spec | None = None,
    *,
    channels_first: bool = False,
    rank: int | None = None,
) -> None:
    """Features (or feature maps) that can be pooled together, whatever their layout.

    Operators pass location features ``(N, L, C)`` with ``rank=3``; layers pass maps of any
    rank in their own layout, so the shapes in a message are the caller's. A size that is None
    is not known yet and is left to the backend's own check at run time.
    """
    layout = "(N, C, *spatial)" if channels_first else "(N, *spatial, C)"
    if rank == 3:
        layout = "(N, L, C)"
    for name, spec in (("x", x), ("y", y)):
        if spec is None:
            continue
        check_float(op, name, spec.dtype)
        if spec.shape is None:
            continue
        if len(spec.shape) != rank if rank else len(spec.shape) < 2:
            received = f"{name} {_shape_text(spec.shape)}"
            refuse(ValueError, op, f"{name} must be {layout}", received, LAYOUT_REMEDY)
        if any(size is not None and size == 0 for size in spec.shape[1:]):
            refuse(ValueError, op, EMPTY, f"{name} {_shape_text(spec.shape)}", EMPTY_REMEDY)
    if y is not None:
        _check_pair(op, x, y, channels_first)
    if mask is not None:
        _check_mask(op, x, mask, channels_first)


def _spatial(shape: Sequence[Any], channels_first: bool) -> tuple[Any, ...]:
    return tuple(shape[2:] if channels_first else shape[1:-1])


def _differ(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two shapes cannot be equal, given the sizes known so far."""
    if len(a) != len(b):
        return True
    return any(p is not None and q is not None and p != q for p, q in zip(a, b, strict=True))


def _pair_text(x: Sequence[Any], y: Sequence[Any]) -> str:
    return f"x {_shape_text(x)} and y {_shape_text(y)}"


def _check_pair(op: str, x: Spec, y: Spec, channels_first: bool) -> None:
    if x.dtype != y.dtype:
        received = f"x {x.dtype} and y {y.dtype}"
        refuse(TypeError, op, "x and y must have the same dtype", received, "Cast one of them.")
    if x.shape is None or y.shape is None:
        return
    shapes = x.shape, y.shape  # put into words only for an error: Dynamo would fix the sizes
    if _differ(x.shape[:1], y.shape[:1]):
        refuse(ValueError, op, SAME_BATCH, _pair_text(*shapes), SAME_BATCH_REMEDY)
    if _differ(_spatial(x.shape, channels_first), _spatial(y.shape, channels_first)):
        refuse(ValueError, op, SAME_PLACES, _pair_text(*shapes), SAME_PLACES_REMEDY)


def _check_mask(op: str, x: Spec, mask: Spec, channels_first: bool) -> None:
    if mask.dtype != "bool":
        remedy = "It selects locations; to weight them, scale x instead."
        refuse(TypeError, op, "mask must be boolean", mask.dtype, remedy)
    if x.shape is None or mask.shape is None:
        return
    if _differ(mask.shape, (x.shape[0], *_spatial(x.shape, channels_first))):
        received = f"mask {_shape_text(mask.shape)} for x {_shape_text(x.shape)}"
        refuse(ValueError, op, MASK_SHAPE, received, MASK_SHAPE_REMEDY)


def check_signed_sqrt(g: Spec, eps: float, op: str = "signed_sqrt") -> None:
    check_float(op, "g", g.dtype)
    check_eps(op, eps, g.dtype)


def check_l2_normalize(z: Spec, eps: float, op: str = "l2_normalize") -> None:
    check_float(op, "z", z.dtype)
    check_floor(op, eps, z.dtype)
    if z.shape is None:
        return
    if len(z.shape) == 0 or (z.shape[-1] is not None and z.shape[-1] == 0):
        refuse(ValueError, op, LAST_AXIS, f"z {_shape_text(z.shape)}", LAST_AXIS_REMEDY)


def check_outer_pool(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, op: str = "outer_pool"
) -> None:
    check_reduction(op, reduction)
    check_operands(op, x, y, mask, rank=3)


def check_layer(op: str, reduction: object, eps: float, l2_eps: float) -> None:
    """What a layer can check when it is made, before it has seen a dtype."""
    check_reduction(op, reduction)
    check_power(op, "float64", eps, l2_eps)


def check_power(op: str, dtype: str, eps: float, l2_eps: float) -> None:
    """What a layer checks of its root and norm once it sees a dtype."""
    check_eps(op, eps, dtype)
    check_floor(op, l2_eps, dtype, name="l2_eps")


def check_same_device(op: str, devices: dict[str, str]) -> None:
    """TypeError unless all the named arrays live on one device."""
    if len(set(devices.values())) > 1:
        received = ", ".join(f"{name} on {device}" for name, device in devices.items())
        refuse(TypeError, op, "all arrays must be on one device", received, "Move them to one.")


def check_batch_norm(shape: Sequence[Any], channel_axis: int) -> None:
    """In training a channel needs two values: one alone has no variance to learn from."""
    rest = [size for axis, size in enumerate(shape) if axis != channel_axis]
    if None not in rest and math.prod(rest) == 1:
        refuse(ValueError, "BatchNorm", LONE_VALUE, _shape_text(shape), LONE_VALUE_REMEDY)


def check_images(images: Spec, *, channels_first: bool, channels: int | None, least: int) -> None:
    """A batch of normalised images that a named backbone can take.

    `channels` is None for the user's own network, which then checks for itself; `least` is the
    smallest height and width that leave one location.
    """
    layout = "(N, 3, H, W)" if channels_first else "(N, H, W, 3)"
    if images.dtype not in ACCUMULATION:
        remedy = "load_image gives what the model takes; raw pixels must be scaled first."
        refuse(TypeError, "BCNN", "images must be normalised real numbers", images.dtype, remedy)
    if images.shape is None or channels is None:
        return
    received = _shape_text(images.shape)
    if len(images.shape) != 4 or images.shape[1 if channels_first else 3] not in (channels, None):
        remedy = "Add a batch axis, or move the colour axis."
        refuse(ValueError, "BCNN", f"images must be {layout}", received, remedy)
    if any(size is not None and size < least for size in _spatial(images.shape, channels_first)):
        invariant = f"images must be at least {least} × {least}"
        refuse(ValueError, "BCNN", invariant, received, "Load them larger.")
