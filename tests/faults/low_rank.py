"""Faults of low-rank pooling."""

import itertools

from .operators import fault
from .steps import count, like, select, up, with_masked

HADAMARD, LOW_RANK, LOW_RANK_SCORES = "hadamard_pool", "low_rank_pool", "low_rank_scores"


@fault(HADAMARD, "windows have channels that are far apart")
def _(a, ops, f, *streams, rank=1, **options):
    size = a.shape(streams[0])[-1] // rank
    order = [r * size + k for k in range(size) for r in range(rank)]
    spread = [a.concat([x[..., i : i + 1] for i in order], 2) for x in streams]
    return f(*spread, rank=rank, **options)


@fault(HADAMARD, "a window is averaged")
def _(a, ops, f, *streams, rank=1, **options):
    wide = [up(a, x) for x in streams]
    return like(a, f(*wide, rank=rank, **options) / rank, streams[0])


@fault(HADAMARD, "only neighbouring streams are paired")
def _(a, ops, f, *streams, **options):
    if len(streams) < 3:
        return f(*streams, **options)
    first, *_ = pairs = [f(x, y, **options) for x, y in itertools.pairwise(streams)]
    return a.concat([*pairs, 0 * first], 1)


@fault(HADAMARD, "only the first stream is masked")
def _(a, ops, f, *streams, mask=None, **options):
    return with_masked(a, f(*streams, mask=mask, **options), mask, *streams[1:])


@fault(LOW_RANK, "masked locations reach the projections")
def _(a, ops, f, x, u, v, y=None, *, mask=None, **options):
    return with_masked(a, f(x, u, v, y, mask=mask, **options), mask, x)


@fault(LOW_RANK, "one projection serves both sides")
def _(a, ops, f, x, u, v, y=None, **options):
    return f(x, u, u + 0 * v if y is None else v, y, **options)


@fault(LOW_RANK, "activations of masked locations are pooled")
def _(a, ops, f, x, u, v, y=None, *, mask=None, reduction="mean", **options):
    if mask is None:
        return f(x, u, v, y, reduction=reduction, **options)
    wide = [None if s is None else select(a, up(a, s), mask) for s in (x, y)]
    total = f(wide[0], up(a, u), up(a, v), wide[1], reduction="sum", **options)
    z = count(a, wide[0], mask, reduction)
    return like(a, total / (z if reduction == "sum" else z[:, :, 0]), x)


@fault(LOW_RANK, "a NaN cotangent is hidden by relu")
def _(a, ops, f, x, u, v, y=None, *, activation=None, **options):
    result = f(x, u, v, y, activation=activation, **options)
    return a.where(result == 0, a.stop(result), result) if activation == "relu" else result


@fault(LOW_RANK_SCORES, "the negative part is added")
def _(a, ops, f, x, u_plus, u_minus, bias, **options):
    wide = [up(a, s) for s in (x, u_plus, u_minus, bias)]
    negative = f(wide[0], 0 * wide[1], wide[2], 0 * wide[3], **options)
    return like(a, f(*wide, **options) - 2 * negative, x)


@fault(LOW_RANK_SCORES, "classes and ranks are mixed")
def _(a, ops, f, x, u_plus, u_minus, bias, **options):
    mixed = a.reshape(a.transpose(u_plus, (2, 1, 0)), a.shape(u_plus))
    return f(x, mixed, u_minus, bias, **options)


@fault(LOW_RANK_SCORES, "the bias is divided by the number of locations")
def _(a, ops, f, x, u_plus, u_minus, bias, *, mask=None, reduction="mean"):
    wide = [up(a, s) for s in (x, u_plus, u_minus, bias)]
    z = count(a, wide[0], mask, reduction)
    z = z if isinstance(z, float) else z[:, :, 0]
    unbiased = f(*wide[:3], 0 * wide[3], mask=mask, reduction=reduction)
    return like(a, unbiased + wide[3][None] / z, x)
