"""What the operators of aggregation accept: the maximum over locations, democratic weights."""

from collections.abc import Sequence
from typing import Any

from . import Spec, check_eps, check_number, check_operands, check_power, refuse
from ._counts import check_count

GAMMA = 0.5
"""Default exponent of the democratic targets: 1 is sum pooling, 0 equal contributions."""
DAMPING = 0.5
"""Default exponent of a Sinkhorn step: 1 is the undamped iteration."""
STEPS = 10
"""Default number of Sinkhorn steps."""
WEIGHT_EPS = 1e-8
"""Default eps under the root of a democratic weight."""


def check_inner_pool(pool: Any) -> None:
    """What `DemocraticPool` is around: no layer of ours that was made for several maps."""
    channels: Any = getattr(pool, "channels", None)
    kind = type(pool)
    several = isinstance(channels, Sequence) and len(channels) > 1
    if several and kind.__module__.startswith("bilinear."):
        received = f"a {kind.__name__} of {len(channels)} maps"
        remedy = "Weights are those of the places of one map."
        refuse(ValueError, "DemocraticPool", "pool must be of one map", received, remedy)


def check_outer_max_pool(x: Spec, y: Spec | None, mask: Spec | None) -> None:
    check_operands("outer_max_pool", x, y, mask, rank=3)


def check_outer_max_layer(eps: float, l2_eps: float) -> None:
    """What `OuterMaxPool` can check when it is made, before it has seen a dtype."""
    check_power("OuterMaxPool", "float64", eps, l2_eps)


def check_democratic_weights(
    x: Spec,
    mask: Spec | None,
    gamma: float,
    damping: float,
    steps: int,
    eps: float,
    detach_target: bool,
) -> None:
    op = "democratic_weights"
    check_operands(op, x, None, mask, rank=3)
    check_democracy(op, x.dtype, gamma, damping, steps, eps, detach_target)


def check_democracy(
    op: str,
    dtype: str,
    gamma: float,
    damping: float,
    steps: int,
    eps: float,
    detach_target: bool,
    weight_eps: float | None = None,
) -> None:
    """The numbers of democratic aggregation; a layer has `weight_eps` too, and no dtype yet."""
    for name, value in (("gamma", gamma), ("damping", damping)):
        check_number(op, name, value)
    if not 0 <= gamma <= 1:
        remedy = "1 is sum pooling, 0 lets every location contribute as much as any other."
        refuse(ValueError, op, "gamma must be between 0 and 1", f"{gamma!r}", remedy)
    if not 0 < damping <= 1:
        remedy = "1 is the plain Sinkhorn step; less makes each step smaller."
        refuse(ValueError, op, "damping must be above 0 and at most 1", f"{damping!r}", remedy)
    check_count(op, "steps", steps)
    if not isinstance(detach_target, bool):
        remedy = "True takes the targets as constants, False differentiates them."
        refuse(TypeError, op, "detach_target must be a bool", f"{detach_target!r}", remedy)
    _check_positive(op, "eps", eps, dtype, "the base of every power")
    if weight_eps is not None:
        _check_positive(op, "weight_eps", weight_eps, dtype, "the root of a weight of 0")


def _check_positive(op: str, name: str, eps: float, dtype: str, where: str) -> None:
    check_eps(op, eps, dtype, name=name)
    if eps == 0:
        remedy = f"It keeps {where} away from 0."
        refuse(ValueError, op, f"{name} must be positive", f"{eps!r}", remedy)
