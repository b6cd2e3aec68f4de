"""What the dense operators accept: outer products, root, norm, descriptors and their scores."""

from typing import Any

from .arguments import FLAG, NORM, check_argument
from .arrays import (
    EMPTY,
    EMPTY_REMEDY,
    Spec,
    channels_of,
    check_float,
    check_last_axis,
    check_operands,
    check_weight,
    differ,
    shape_text,
)
from .errors import refuse
from .options import (
    ONE_STREAM,
    ONE_STREAM_REMEDY,
    DescriptorOptions,
    check_eps,
    check_floor,
    check_options,
    check_reduction,
    check_root,
)

SQUARE = "g must be square matrices, (N, C, C)"
SQUARE_REMEDY = "Only these have two equal triangles; pool one stream with itself."


def check_outer_pool(x: Spec, y: Spec | None, mask: Spec | None, reduction: object) -> None:
    check_reduction("outer_pool", reduction)
    check_operands("outer_pool", x, y, mask, rank=3)


def check_signed_sqrt(
    g: Spec, eps: float, root: object = "signed", slope_eps: float | None = None
) -> None:
    check_float("signed_sqrt", "g", g.dtype)
    check_eps("signed_sqrt", eps, g.dtype)
    check_root("signed_sqrt", g.dtype, eps, root, slope_eps)


def check_l2_normalize(z: Spec, eps: float, norm: object = "floor") -> None:
    check_float("l2_normalize", "z", z.dtype)
    check_floor("l2_normalize", eps, z.dtype)
    check_last_axis("l2_normalize", z)
    check_argument("l2_normalize", "norm", norm, NORM)


def check_bilinear_pool(
    x: Spec,
    y: Spec | None,
    mask: Spec | None,
    options: DescriptorOptions,
    op: str = "bilinear_pool",
) -> None:
    check_reduction(op, options.reduction)
    check_operands(op, x, y, mask, rank=3)
    check_options(op, options, x.dtype, y)


def check_bilinear_scores(
    x: Spec,
    weight: Spec,
    bias: Spec | None,
    y: Spec | None,
    mask: Spec | None,
    options: DescriptorOptions,
) -> None:
    op = "bilinear_scores"
    check_bilinear_pool(x, y, mask, options, op)
    channels, channels_b = channels_of(x), channels_of(y or x)
    size: Any = None
    if channels is not None and channels_b is not None:
        size = descriptor_size(op, options.packed, channels, None if y is None else channels_b)
    layout = scores_layout(y, options.packed)
    check_weight(op, "weight", weight, x, layout, (None, size))
    if bias is not None:
        classes = None if weight.shape is None else weight.shape[0]
        check_weight(op, "bias", bias, x, "(K,)", (classes,))


def scores_layout(y: object, packed: bool) -> str:
    """The shape of the weight of `bilinear_scores` in words."""
    return "(K, C(C+1)/2)" if packed else "(K, C·C)" if y is None else "(K, C·D)"


def check_half_vectorize(g: Spec, isometric: object) -> None:
    op = "half_vectorize"
    check_argument(op, "isometric", isometric, FLAG)
    check_float(op, "g", g.dtype)
    if g.shape is None:
        return
    if len(g.shape) != 3 or differ(g.shape[1:2], g.shape[2:]):
        refuse(ValueError, op, SQUARE, f"g {shape_text(g.shape)}", SQUARE_REMEDY)
    if any(size is not None and size == 0 for size in g.shape[1:]):
        refuse(ValueError, op, EMPTY, f"g {shape_text(g.shape)}", EMPTY_REMEDY)


def packed_size(channels: int) -> int:
    """The number of entries on and above the diagonal of a C × C matrix: C(C+1)/2."""
    return channels * (channels + 1) // 2


def descriptor_size(op: str, packed: bool, channels: int, channels_b: int | None) -> int:
    """C·D, the length of the descriptor of streams of C and D channels; C(C+1)/2 if packed."""
    if not packed:
        return channels * (channels if channels_b is None else channels_b)
    if channels_b is not None:
        received = f"{channels} and {channels_b} channels"
        refuse(ValueError, op, ONE_STREAM, received, ONE_STREAM_REMEDY)
    return packed_size(channels)


def check_one_stream(op: str, channels: int, channels_b: int | None) -> None:
    """ValueError for two streams in a layer that pools one stream with itself."""
    if channels_b is not None:
        received = f"{channels} and {channels_b} channels"
        remedy = "Leave out the second stream, or use a pool of two."
        refuse(ValueError, op, "the layer is for one stream", received, remedy)
