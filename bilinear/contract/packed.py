"""What the half of a symmetric matrix needs."""

from . import EMPTY, EMPTY_REMEDY, Spec, _differ, _shape_text, check_float, refuse

SQUARE = "g must be square matrices, (N, C, C)"
SQUARE_REMEDY = "Only these have two equal halves; pool one stream with itself."
HALF = "packed=True is for one stream"
HALF_REMEDY = "Leave out the second stream, or packed."
ONE_STREAM_REMEDY = "Leave out the second stream, or use a pool of two."


def check_flag(op: str, name: str, value: object) -> None:
    """TypeError unless `value` is True or False: a constant of the operator, never traced."""
    if not isinstance(value, bool):
        received = f"{type(value).__module__}.{type(value).__qualname__}"
        refuse(TypeError, op, f"{name} must be True or False", received, "Pass a bool.")


def check_half_vectorize(g: Spec, isometric: object, op: str = "half_vectorize") -> None:
    check_flag(op, "isometric", isometric)
    check_float(op, "g", g.dtype)
    if g.shape is None:
        return
    if len(g.shape) != 3 or _differ(g.shape[1:2], g.shape[2:]):
        refuse(ValueError, op, SQUARE, f"g {_shape_text(g.shape)}", SQUARE_REMEDY)
    if any(size is not None and size == 0 for size in g.shape[1:]):
        refuse(ValueError, op, EMPTY, f"g {_shape_text(g.shape)}", EMPTY_REMEDY)


def descriptor_size(op: str, packed: bool, channels: int, channels_b: int | None) -> int:
    """C·D, the length of the descriptor of streams with C and D channels; C(C+1)/2 of half."""
    if not packed:
        return channels * (channels if channels_b is None else channels_b)
    if channels_b is not None:
        refuse(ValueError, op, HALF, f"{channels} and {channels_b} channels", HALF_REMEDY)
    return packed_size(channels)


def packed_size(channels: int) -> int:
    """The number of entries on and above the diagonal."""
    return channels * (channels + 1) // 2


def check_one_stream(op: str, channels: int, channels_b: int | None) -> None:
    """What `descriptor_size` says of a layer that pools one stream with itself."""
    if channels_b is not None:
        received = f"{channels} and {channels_b} channels"
        refuse(ValueError, op, "the layer is for one stream", received, ONE_STREAM_REMEDY)
