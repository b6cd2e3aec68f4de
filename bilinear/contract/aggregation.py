"""What the aggregation operators accept: maximum over locations, democratic weights."""

from collections.abc import Sequence
from typing import Any

from .arguments import FLAG, POSITIVE_SHARE, SHARE, STEP_COUNT, check_argument
from .arrays import Spec, check_operands
from .errors import refuse
from .options import check_floor

GAMMA = 0.5
"""Default exponent of the democratic targets: 1 is sum pooling, 0 equal contributions."""
DAMPING = 0.5
"""Default exponent of a Sinkhorn step: 1 is the undamped iteration."""
STEPS = 10
"""Default number of Sinkhorn steps."""
WEIGHT_EPS = 1e-8
"""Default eps under the root of a democratic weight."""


def check_inner_pool(pool: Any) -> None:
    """ValueError for a layer of this library, in a `DemocraticPool`, that takes several maps."""
    channels: Any = getattr(pool, "channels", None)
    kind = type(pool)
    several = isinstance(channels, Sequence) and len(channels) > 1
    if several and kind.__module__.startswith("bilinear."):
        received = f"a {kind.__name__} of {len(channels)} feature maps"
        requirement = "pool must be a layer of one feature map"
        refuse(ValueError, "DemocraticPool", requirement, received)


def check_outer_max_pool(x: Spec, y: Spec | None, mask: Spec | None) -> None:
    check_operands("outer_max_pool", x, y, mask, rank=3)


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
    check_argument(op, "gamma", gamma, SHARE)
    check_argument(op, "damping", damping, POSITIVE_SHARE)
    check_argument(op, "steps", steps, STEP_COUNT)
    check_argument(op, "detach_target", detach_target, FLAG)
    check_floor(op, eps, x.dtype)
