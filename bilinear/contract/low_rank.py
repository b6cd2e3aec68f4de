"""What the low-rank pooling operators accept."""

from collections.abc import Sequence
from typing import Any, Literal

from .arguments import ACTIVATION, COUNT, check_argument
from .arrays import Spec, channels_of, check_operands, check_weight, differ, pair_text
from .errors import refuse
from .options import check_reduction

Activation = Literal["tanh", "relu", "sigmoid"] | None

SAME_CHANNELS = "all streams must have the same number of channels"
SAME_CHANNELS_REMEDY = "Project them to one width first."
WINDOWS = "rank must divide the number of channels"
WINDOWS_REMEDY = "Each window sums that many consecutive channels."


def check_hadamard_pool(
    streams: Sequence[Spec], rank: object, mask: Spec | None, reduction: object
) -> None:
    """Two or more streams; each is compared with the first and called y in a message."""
    op = "hadamard_pool"
    check_reduction(op, reduction)
    check_argument(op, "rank", rank, COUNT)
    x, *others = streams
    for other in others:
        check_operands(op, x, other, mask, rank=3)
        _check_same_channels(op, x, other)
    _check_windows(op, x, rank)


def _check_same_channels(op: str, x: Spec, y: Spec) -> None:
    if x.shape is None or y.shape is None or not differ(x.shape[-1:], y.shape[-1:]):
        return
    refuse(ValueError, op, SAME_CHANNELS, pair_text(x, y), SAME_CHANNELS_REMEDY)


def _check_windows(op: str, x: Spec, rank: Any) -> None:
    channels = channels_of(x)
    if channels is not None and channels % rank:
        received = f"rank {rank} for {channels} channels"
        refuse(ValueError, op, WINDOWS, received, WINDOWS_REMEDY)


def check_low_rank_pool(
    x: Spec,
    u: Spec,
    v: Spec,
    y: Spec | None,
    activation: object,
    rank: object,
    mask: Spec | None,
    reduction: object,
) -> None:
    op = "low_rank_pool"
    check_reduction(op, reduction)
    check_argument(op, "activation", activation, ACTIVATION)
    check_argument(op, "rank", rank, COUNT)
    check_operands(op, x, y, mask, rank=3)
    check_weight(op, "u", u, x, "(C, R)", (channels_of(x), None))
    check_weight(op, "v", v, x, "(D, R)", (channels_of(x if y is None else y), None))
    _check_same_channels(op, Spec(u.shape, x.dtype), Spec(v.shape, x.dtype))
    _check_windows(op, u, rank)


def check_low_rank_scores(
    x: Spec, u_plus: Spec, u_minus: Spec, bias: Spec, mask: Spec | None, reduction: object
) -> None:
    """One of the two ranks may be 0: that sum is then empty."""
    op = "low_rank_scores"
    check_reduction(op, reduction)
    check_operands(op, x, None, mask, rank=3)
    classes = None if bias.shape is None else (bias.shape or [None])[0]
    expected = (classes, channels_of(x), None)
    check_weight(op, "bias", bias, x, "(K,)", (None,))
    check_weight(op, "u_plus", u_plus, x, "(K, C, r₊)", expected, empty=2)
    check_weight(op, "u_minus", u_minus, x, "(K, C, r₋)", expected, empty=2)
    ranks = [0 if u.shape is None else u.shape[2] for u in (u_plus, u_minus)]
    if ranks == [0, 0] and None not in (u_plus.shape, u_minus.shape):
        requirement = "u_plus and u_minus must not both be of rank 0"
        remedy = "Without a projection the features do not enter the scores."
        refuse(ValueError, op, requirement, "two of rank 0", remedy)
