"""Contributions of locations and channel pairs to the score of a class, as NumPy arrays.

    explanation = explain(x, y, model.descriptors(images)[0], weight[k], bias[k])
    explanation.heat              # (h, w): sums to the score of class k minus its bias
    top_pairs(explanation, 10)    # the channel pairs with the largest contributions

The contributions are exact for a linear classifier on the descriptor of `BilinearPool` with any of
its options. For other pools, `gradient_times_input` gives the first-order effect of each location.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..contract import ACCUMULATION, refuse
from ..contract.pooling import packed_size

OP = "explain"


class Explanation(NamedTuple):
    """The score of one class by location and by pair of channels, in float64.

    ``heat.sum()`` and ``contributions.sum()`` both equal ``score − bias`` up to rounding.
    """

    heat: np.ndarray
    """(*spatial): contribution of each location. Positive values increase the score."""
    contributions: np.ndarray
    """(C, D): contribution of each pair of channels. For one stream, entry (c, d) with c ≤ d is the
    sum for both orders, and entries below the diagonal are 0."""
    bias: float

    @property
    def score(self) -> float:
        """The logit of the class."""
        return self.bias + float(self.contributions.sum())


class Pair(NamedTuple):
    """A pair of channels and its contribution to a score."""

    first: int
    second: int
    contribution: float
    share: float | None
    """``contribution / (score − bias)``, or None if score equals bias. All shares sum to 1."""


def explain(x: Any, y: Any | None, descriptor: Any, weight: Any, bias: float = 0.0) -> Explanation:
    """Divide the score of a linear classifier on a bilinear descriptor among the locations.

    The score is ``b + Σ_cd w_cd u_cd`` with the descriptor u. The entry ``u_cd`` depends on
    ``Z g_cd = Σ_l x_lc y_ld`` and on the norm, which is the same for all entries. Its contribution
    to the score is divided in proportion to the terms of this sum::

        heat_l = Σ_cd w_cd u_cd · x_lc y_ld / (Z g_cd) = x_lᵀ M y_l,   M_cd = w_cd u_cd / (Z g_cd)

    Z cancels. The shares of each entry sum to 1, so ``Σ_l heat_l = score − b``.

    Positive values increase the score. For non-negative features (after a ReLU) the shares of an
    entry are between 0 and 1. For features of both signs (after a projection) the terms may cancel,
    and shares may be below 0 or above 1.

    An entry with ``g_cd = 0`` has ``u_cd = 0`` and contributes nothing. With ``root="unsigned"``
    its value is √eps / norm, and its contribution is divided equally among the locations.

    Args:
        x: (*spatial, C) features of one image, as the pool receives them.
        y: (*spatial, D) features of the second stream, or None for one stream.
        descriptor: (C·D,) descriptor of the image, or (C·(C+1)/2,) if it is packed.
        weight: classifier weights of the class, in the shape of `descriptor`.
        bias: classifier bias of the class, default 0.

    Returns: an `Explanation` with the heat map (*spatial) and contributions (C, D).
    Cost: 2·L·C·D operations in float64, and memory for a few (C, D) arrays.
    Raises: ValueError for shapes that do not match or values that are not finite; TypeError for
        arrays without a real floating dtype.
    References: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
        Layer-Wise Relevance Propagation", PLoS ONE 10, 2015, for shares in proportion to the terms
        of a sum. The application to bilinear descriptors is by this project.
    """
    first = _floats("x", x)
    second = first if y is None else _floats("y", y)
    if first.ndim < 1 or first.size == 0 or first.shape[:-1] != second.shape[:-1]:
        received = f"x {first.shape}" + ("" if y is None else f" and y {second.shape}")
        remedy = "Pass the features of one image, as the pool receives them."
        invariant = "x and y must be (*spatial, channels) with equal spatial shapes"
        refuse(ValueError, OP, invariant, received, remedy)
    spatial, c, d = first.shape[:-1], first.shape[-1], second.shape[-1]
    first, second = first.reshape(-1, c), second.reshape(-1, d)
    contributions = _products(descriptor, weight, c, d, one_stream=y is None)
    sums = first.T @ second
    nonzero = sums != 0
    scaled = np.divide(contributions, sums, out=np.zeros_like(sums), where=nonzero)
    heat = ((first @ scaled) * second).sum(1) + contributions[~nonzero].sum() / len(first)
    if y is None:
        contributions = np.triu(contributions) + np.tril(contributions, -1).T
    return Explanation(heat.reshape(spatial), contributions, float(bias))


def gradient_times_input(maps: Sequence[Any], gradients: Sequence[Any]) -> np.ndarray:
    """Multiply the feature maps of one image by the gradients of a score::

        heat_l = Σ_c x_lc ∂score/∂x_lc       summed over all maps

    It is the first-order change of the score per relative change of the features of a location. For
    a score that is linear in the features (`AveragePool`) the heat map sums to the score minus
    the bias, for a quadratic one (`LowRankBilinearClassifier`) to twice that. For a descriptor of
    norm 1, which does not depend on the scale of the features, it sums to 0 up to eps: it shows
    locations relative to each other.

    Args:
        maps: (*spatial, C) features of one image for each map, as the pool receives them.
        gradients: of the score, with the shapes of `maps`.

    Returns: (*spatial) in float64.
    Raises: ValueError for shapes that do not match or values that are not finite; TypeError for
        arrays without a real floating dtype.
    References: Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important
        Features Through Propagating Activation Differences", 2016, which names the method.
    """
    pairs = zip(maps, gradients, strict=True)
    arrays = [(_floats("maps", x), _floats("gradients", slope)) for x, slope in pairs]
    shapes = [(x.shape, slope.shape) for x, slope in arrays]
    if len({shape[:-1] for pair in shapes for shape in pair}) != 1 or any(
        one != other for one, other in shapes
    ):
        invariant = "maps and gradients must have equal shapes, and all maps one spatial shape"
        remedy = "Pass the maps of one image, as the pool receives them."
        refuse(ValueError, OP, invariant, f"{shapes}", remedy)
    return np.sum([(x * slope).sum(-1) for x, slope in arrays], axis=0)


def top_pairs(explanation: Explanation, count: int) -> list[Pair]:
    """Return the `count` pairs of channels with the largest positive contributions.

    Ties are in row-major order. The list is shorter if fewer contributions are positive.
    """
    flat = explanation.contributions.ravel()
    total = float(flat.sum())
    pairs = []
    for index in np.argsort(-flat, kind="stable")[: max(count, 0)]:
        value = float(flat[index])
        if value <= 0:
            break
        first, second = divmod(int(index), explanation.contributions.shape[1])
        pairs.append(Pair(first, second, value, value / total if total else None))
    return pairs


def _floats(name: str, value: Any) -> np.ndarray:
    """Convert to float64. Raises: TypeError for other dtypes, ValueError for NaN or infinity."""
    array = np.asarray(value)
    if array.dtype.name not in ACCUMULATION:
        remedy = "Pass a NumPy array of floating-point values."
        refuse(TypeError, OP, f"{name} must have a real floating dtype", array.dtype.name, remedy)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        remedy = "Check the model and the image."
        refuse(ValueError, OP, f"{name} must be finite", "NaN or infinity", remedy)
    return array


def _products(descriptor: Any, weight: Any, c: int, d: int, *, one_stream: bool) -> np.ndarray:
    """The elementwise product ``w · u`` as (C, D). Packed entries fill the upper triangle."""
    u, w = _floats("descriptor", descriptor), _floats("weight", weight)
    if u.ndim != 1 or u.shape != w.shape:
        received = f"descriptor {u.shape} and weight {w.shape}"
        remedy = "Pass the descriptor of one image and the weights of one class."
        invariant = "descriptor and weight must have the same length"
        refuse(ValueError, OP, invariant, received, remedy)
    if u.size == c * d:
        return (u * w).reshape(c, d)
    sizes = (c * d, packed_size(c)) if one_stream else (c * d,)
    if u.size not in sizes:
        invariant = f"the descriptor must have {' or '.join(map(str, sizes))} entries"
        remedy = "Only the descriptors of BilinearPool can be explained."
        refuse(ValueError, OP, invariant, f"{u.size}", remedy)
    matrix = np.zeros((c, d))
    matrix[np.triu_indices(c)] = u * w
    return matrix
