"""What the low-rank poolings accept, and the weights their layers begin with."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from . import (
    Spec,
    _differ,
    _shape_text,
    check_float,
    check_layer,
    check_operands,
    check_reduction,
    refuse,
)
from ._counts import check_count, check_seed

Activation = Literal["tanh", "relu", "sigmoid"] | None

ACTIVATIONS = (None, "tanh", "relu", "sigmoid")
CLASSIFIER_RANK = 8
"""Default rank of the matrix of a class: that of Kong and Fowlkes 2017, section 4."""

SAME_CHANNELS = "all streams must have the same number of channels"
SAME_CHANNELS_REMEDY = "Project them to one width first."
WINDOWS = "rank must divide the number of channels"
WINDOWS_REMEDY = "Every window sums that many consecutive channels."


def check_activation(
    op: str, activation: object, known: tuple[str | None, ...] = ACTIVATIONS
) -> None:
    if activation not in known:
        words = ", ".join(map(repr, known[:-1]))
        invariant = f"activation must be {words} or {known[-1]!r}"
        refuse(ValueError, op, invariant, repr(activation), "None leaves the projections linear.")


def check_hadamard_pool(
    streams: Sequence[Spec],
    rank: object,
    mask: Spec | None,
    reduction: object,
    op: str = "hadamard_pool",
) -> None:
    """Two or more streams; each is held to the first, and then called y."""
    check_reduction(op, reduction)
    check_count(op, "rank", rank)
    x, *others = streams
    for other in others:
        check_operands(op, x, other, mask, rank=3)
        _check_same_channels(op, x, other)
    _check_windows(op, x, rank)


def _check_same_channels(op: str, x: Spec, y: Spec) -> None:
    if x.shape is None or y.shape is None or not _differ(x.shape[-1:], y.shape[-1:]):
        return
    received = f"x {_shape_text(x.shape)} and y {_shape_text(y.shape)}"
    refuse(ValueError, op, SAME_CHANNELS, received, SAME_CHANNELS_REMEDY)


def _check_windows(op: str, x: Spec, rank: Any) -> None:
    channels = None if x.shape is None else x.shape[-1]
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
    check_activation(op, activation)
    check_count(op, "rank", rank)
    check_operands(op, x, y, mask, rank=3)
    check_weight(op, "u", u, x, "(C, R)", (_channels(x), None))
    check_weight(op, "v", v, x, "(D, R)", (_channels(x if y is None else y), None))
    _check_same_channels(op, Spec(u.shape, x.dtype), Spec(v.shape, x.dtype))
    _check_windows(op, u, rank)


def check_low_rank_scores(
    x: Spec,
    u_plus: Spec,
    u_minus: Spec,
    bias: Spec,
    mask: Spec | None,
    reduction: object,
) -> None:
    """One of the two ranks may be 0: that sum is then empty."""
    op = "low_rank_scores"
    check_reduction(op, reduction)
    check_operands(op, x, None, mask, rank=3)
    classes = None if bias.shape is None else (bias.shape or [None])[0]
    expected = (classes, _channels(x), None)
    check_weight(op, "bias", bias, x, "(K,)", (None,))
    check_weight(op, "u_plus", u_plus, x, "(K, C, r₊)", expected, empty=2)
    check_weight(op, "u_minus", u_minus, x, "(K, C, r₋)", expected, empty=2)
    ranks = [0 if u.shape is None else u.shape[2] for u in (u_plus, u_minus)]
    if ranks == [0, 0] and None not in (u_plus.shape, u_minus.shape):
        invariant = "u_plus and u_minus must not both be of rank 0"
        remedy = "Without a projection the features do not enter the scores."
        refuse(ValueError, op, invariant, "two of rank 0", remedy)


def _channels(x: Spec) -> Any:
    return None if x.shape is None else x.shape[-1]


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
    """A learned array of the dtype of `x` and of the sizes expected, where those are known.

    Only the axis `empty` may be of size 0.
    """
    check_float(op, name, weight.dtype)
    if weight.dtype != x.dtype:
        received = f"x {x.dtype} and {name} {weight.dtype}"
        refuse(
            TypeError, op, f"x and {name} must have the same dtype", received, "Cast one of them."
        )
    if weight.shape is None:
        return
    received = f"{name} {_shape_text(weight.shape)}"
    if _differ(weight.shape, expected):
        if x.shape is not None:
            received += f" for x {_shape_text(x.shape)}"
        remedy = "Its sizes must fit the features and the other weights."
        refuse(ValueError, op, f"{name} must be {layout}", received, remedy)
    if any(size == 0 for axis, size in enumerate(weight.shape) if axis != empty):
        remedy = "Use at least one of each."
        refuse(ValueError, op, f"{name} must not be empty", received, remedy)


# --- layers ---


def check_streams(op: str, channels: Any, *, most: int | None = None, least: int = 1) -> None:
    """The channels of each stream: an int for one, else a list of ints."""
    listed = streams(channels)
    for count in listed:
        check_count(op, "channels", count)
    if len(listed) < least or (most is not None and len(listed) > most):
        known = f"{least} or more" if most is None else f"{least} or {most}"
        invariant = f"channels must be those of {known} streams"
        refuse(ValueError, op, invariant, repr(channels), "Give an int for each stream.")


def check_maps(op: str, maps: Sequence[Spec], channels: Any, *, channels_first: bool) -> None:
    """As many maps as the layer was made for, each with as many channels."""
    listed = streams(channels)
    if len(maps) != len(listed):
        invariant = f"the layer must be called with one map for each of channels {plain(channels)}"
        remedy = "Give channels a list of one int a stream, or an int for one stream."
        refuse(ValueError, op, invariant, f"{len(maps)}", remedy)
    for x, made_for in zip(maps, listed, strict=True):
        shape = x.shape or ()
        size = shape[1 if channels_first else -1] if len(shape) > 1 else None  # refused later
        if size is not None and size != made_for:
            invariant = f"a map must have the {made_for} channels that the layer was made for"
            remedy = "Make the layer with the channels of its maps."
            refuse(ValueError, op, invariant, _shape_text(shape), remedy)


def check_low_rank_layer(
    op: str,
    channels: Any,
    dim: object,
    rank: object,
    activation: object,
    seed: object,
    reduction: object,
    eps: float,
    l2_eps: float,
) -> None:
    """What `LowRankBilinearPool` can check when it is made."""
    check_streams(op, channels, most=2)
    check_count(op, "dim", dim)
    check_count(op, "rank", rank)
    check_activation(op, activation)
    check_seed(op, seed)
    check_layer(op, reduction, eps, l2_eps)


def check_classifier_layer(
    op: str, channels: object, num_classes: object, rank: object, seed: object, reduction: object
) -> None:
    """What `LowRankBilinearClassifier` can check when it is made."""
    for name, value in (("channels", channels), ("num_classes", num_classes), ("rank", rank)):
        check_count(op, name, value)
    check_seed(op, seed)
    check_reduction(op, reduction)


def check_hierarchical_layer(
    op: str,
    channels: Any,
    dim: object,
    seed: object,
    reduction: object,
    eps: float,
    l2_eps: float,
) -> None:
    """What `HierarchicalBilinearPool` can check when it is made."""
    check_streams(op, channels, least=2)
    check_count(op, "dim", dim)
    check_seed(op, seed)
    check_layer(op, reduction, eps, l2_eps)


def check_projection_layer(
    op: str, channels: object, dim: object, activation: object, seed: object
) -> None:
    """What `Projection` can check when it is made."""
    check_count(op, "channels", channels)
    check_count(op, "dim", dim)
    check_activation(op, activation, (None, "relu"))
    check_seed(op, seed)


def streams(channels: Any) -> list[int]:
    """The channels of each stream in a list."""
    return list(channels) if isinstance(channels, (list, tuple)) else [channels]


def plain(channels: Any) -> Any:
    """`channels` as a layer keeps it, and a file: an int or a list of ints."""
    listed = [int(count) for count in streams(channels)]
    return listed if isinstance(channels, (list, tuple)) else listed[0]


def hashable(channels: Any) -> Any:
    """`plain`, but of a list a tuple: what is static to JAX is hashed."""
    kept = plain(channels)
    return tuple(kept) if isinstance(kept, list) else kept


def projections(sizes: Sequence[tuple[int, int]], seed: int) -> list[np.ndarray]:
    """Projections of the shapes (C, R), normal with deviation 1/√C, drawn one after the other.

    So a projection has the scale of a feature.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(size) / size[0] ** 0.5 for size in sizes]
    return [weight.astype(np.float32) for weight in drawn]


def low_rank_projections(channels: Any, dim: int, rank: int, seed: int) -> list[np.ndarray]:
    """u (C, dim · rank) and v (D, dim · rank) of `LowRankBilinearPool`."""
    listed = streams(channels)
    return projections([(c, dim * rank) for c in (listed[0], listed[-1])], seed)


def classifier_projections(
    channels: int, num_classes: int, rank: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """u_plus (K, C, r₊) and u_minus (K, C, r₋), normal with deviation 1/√(C · rank).

    Half of `rank` each, r₊ the larger where it is odd. A squared projection has the scale of a
    squared feature, and a score is beside 0, where both sums are equally large.
    """
    rng = np.random.default_rng(seed)
    scale = (channels * rank) ** -0.5
    plus, minus = (
        (rng.standard_normal((num_classes, channels, size)) * scale).astype(np.float32)
        for size in (rank - rank // 2, rank // 2)
    )
    return plus, minus
