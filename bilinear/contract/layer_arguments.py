"""The arguments of each class of layers: names, types, requirements and defaults.

The layers of PyTorch and Keras, and the modules of Flax, inherit these classes: every argument is
an attribute of this type. `layers.LAYERS` reads the requirements and defaults from the annotations.
Representations and files list the arguments in the order of their class.
"""

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from . import arguments as kinds
from .aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS
from .arguments import Kind
from .low_rank import Activation
from .matrices import STEPS as ROOT_STEPS
from .matrices import Method, Normalize
from .options import EPS, L2_EPS, Norm, Reduction, Root
from .sketches import SketchMethod

DIM = 8192
"""Default length of compact and low-rank descriptors: Gao et al. 2016 and Yu et al. 2018."""
CLASSIFIER_RANK = 8
"""Default rank of the matrix of each class: that of Kong and Fowlkes 2017, section 4."""

REQUIRED: Any = object()
"""The default of an argument that has none."""


class Argument(NamedTuple):
    """An argument of a constructor."""

    kind: Kind
    default: Any = REQUIRED


def arguments_of(described: type) -> dict[str, Argument]:
    """The arguments that a class of this module describes, in their order."""
    return {n: hint.__metadata__[0] for n, hint in inspect.get_annotations(described).items()}


Count = Annotated[int, Argument(kinds.COUNT)]
Dim = Annotated[int, Argument(kinds.COUNT, DIM)]
Seed = Annotated[int | None, Argument(kinds.SEED, 0)]
Flag = Annotated[bool, Argument(kinds.FLAG, False)]
Mean = Annotated[Reduction, Argument(kinds.REDUCTION, "mean")]
Eps = Annotated[float, Argument(kinds.EPS, EPS)]
L2Eps = Annotated[float, Argument(kinds.FLOOR, L2_EPS)]
Signed = Annotated[Root, Argument(kinds.ROOT, "signed")]
Iteration = Annotated[Method, Argument(kinds.ROOT_METHOD, "newton_schulz")]
RootSteps = Annotated[int, Argument(kinds.STEP_COUNT, ROOT_STEPS)]
Tolerance = Annotated[float | None, Argument(kinds.TOLERANCE, None)]


class BilinearPoolArguments:
    reduction: Mean
    eps: Eps
    l2_eps: L2Eps
    packed: Flag
    root: Signed
    slope_eps: Annotated[float | None, Argument(kinds.SLOPE, None)]
    norm: Annotated[Norm, Argument(kinds.NORM, "floor")]


class CompactBilinearPoolArguments:
    channels: Annotated[int | Sequence[int], Argument(kinds.PAIR_OR_ONE)]
    dim: Dim
    method: Annotated[SketchMethod, Argument(kinds.SKETCH_METHOD, "tensor_sketch")]
    seed: Seed
    reduction: Mean
    eps: Eps
    l2_eps: L2Eps


class CovariancePoolArguments:
    method: Iteration
    steps: RootSteps
    normalize: Annotated[Normalize, Argument(kinds.NORMALIZATION, "trace")]
    tol: Tolerance
    isometric: Flag


class ImprovedBilinearPoolArguments:
    method: Iteration
    steps: RootSteps
    normalize: Annotated[Normalize, Argument(kinds.NORMALIZATION, "frobenius")]
    tol: Tolerance
    reduction: Mean
    root: Signed
    eps: Eps
    l2_eps: L2Eps


class LowRankBilinearPoolArguments:
    channels: Annotated[int | Sequence[int], Argument(kinds.ONE_OR_TWO)]
    dim: Dim
    rank: Annotated[int, Argument(kinds.COUNT, 1)]
    activation: Annotated[Activation, Argument(kinds.ACTIVATION, None)]
    seed: Seed
    reduction: Mean
    eps: Eps
    l2_eps: L2Eps


class LowRankBilinearClassifierArguments:
    channels: Count
    num_classes: Count
    rank: Annotated[int, Argument(kinds.COUNT, CLASSIFIER_RANK)]
    seed: Seed
    reduction: Annotated[Reduction, Argument(kinds.REDUCTION, "sum")]


class HierarchicalBilinearPoolArguments:
    channels: Annotated[Sequence[int], Argument(kinds.SEVERAL)]
    dim: Dim
    seed: Seed
    reduction: Mean
    eps: Eps
    l2_eps: L2Eps


class DemocraticPoolArguments:
    pool: Annotated[Any, Argument(kinds.POOL, None)]
    gamma: Annotated[float, Argument(kinds.SHARE, GAMMA)]
    damping: Annotated[float, Argument(kinds.POSITIVE_SHARE, DAMPING)]
    steps: Annotated[int, Argument(kinds.STEP_COUNT, STEPS)]
    eps: Annotated[float, Argument(kinds.FLOOR, EPS)]
    weight_eps: Annotated[float, Argument(kinds.FLOOR, WEIGHT_EPS)]
    detach_target: Flag


class OuterMaxPoolArguments:
    eps: Eps
    l2_eps: L2Eps


class ProjectionArguments:
    channels: Count
    dim: Count
    activation: Annotated[Literal["relu"] | None, Argument(kinds.RELU, None)]
    seed: Seed
