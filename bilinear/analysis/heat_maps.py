"""Where the score of a class comes from: NumPy only, the arrays of any framework's model.

    found = explain(x, y, model.descriptors(images)[0], weight[k], bias[k])
    found.heat          # (h, w): sums to the score of class k less its bias
    pairs(found, 10)    # the channels that carry it

It is exact for a linear classifier on the descriptor of `BilinearPool`, in each of its forms.
Other pools mix their entries: no location or pair of channels has a part of the score there.
"""

from typing import Any, NamedTuple

import numpy as np

from ..contract import ACCUMULATION, refuse
from ..contract.packed import packed_size

OP = "explain"


class Explanation(NamedTuple):
    """One class's score, by location and by pair of channels; all in float64.

    ``heat.sum()`` and ``parts.sum()`` are both ``score − bias``, up to rounding.
    """

    heat: np.ndarray
    """(*spatial): what each location adds to the score. Positive speaks for the class."""
    parts: np.ndarray
    """(C, D): what each pair of channels adds. Of one stream, (c, d) for c ≤ d holds both orders
    and what is below the diagonal is 0."""
    bias: float

    @property
    def score(self) -> float:
        """The logit of the class."""
        return self.bias + float(self.parts.sum())


class Pair(NamedTuple):
    """A pair of channels, and what it adds to a score."""

    first: int
    second: int
    part: float
    share: float | None
    """``part / (score − bias)``, None where that is 0; of all pairs they sum to 1."""


def explain(x: Any, y: Any | None, descriptor: Any, weight: Any, bias: float = 0.0) -> Explanation:
    """Share the score of a linear classifier on a bilinear descriptor out among the locations.

    The score is ``b + Σ_cd w_cd u_cd``, u the descriptor, and the entry ``u_cd`` is a function of
    ``Z g_cd = Σ_l x_lc y_ld`` alone, but for the norm that all have in common. So its part of the
    score is shared in proportion to those products::

        heat_l = Σ_cd w_cd u_cd · x_lc y_ld / (Z g_cd) = x_lᵀ M y_l,   M_cd = w_cd u_cd / (Z g_cd)

    Z, of the mean, falls out. The shares of an entry sum to 1, hence ``Σ_l heat_l = score − b``.

    Signs: positive heat speaks for the class, negative against it. Features that are not negative
        (behind a ReLU) have shares from 0 to 1. Where features have signs (behind a projection)
        the products of a pair may cancel, and its shares then exceed 1 in both directions.
    Edges: an entry with ``g_cd = 0`` has ``u_cd = 0`` and adds nothing; under the unsigned root it
        is √eps / norm, and its part is spread evenly, for no location made it.
    Shapes: x (*spatial, C) as the pool takes it, y (*spatial, D) or None for one stream, descriptor
        and weight (C·D,), or (C(C+1)/2,) of half a descriptor -> heat (*spatial), parts (C, D).
    Cost: time 2·L·C·D in float64, memory a few C·D.
    Raises: ValueError for shapes that do not fit or numbers that are not finite; TypeError for
        arrays that are not of a real floating type.
    Source: ours; shares in proportion to the terms of a sum are the basic rule of Bach et al., "On
        Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
        Propagation", PLoS ONE 10, 2015.
    """
    first = _floats("x", x)
    second = first if y is None else _floats("y", y)
    if first.ndim < 1 or first.size == 0 or first.shape[:-1] != second.shape[:-1]:
        received = f"x {first.shape}" + ("" if y is None else f" and y {second.shape}")
        remedy = "Pass the maps of one image as the pool takes them."
        refuse(ValueError, OP, "maps must be (*spatial, channels) of one size", received, remedy)
    spatial, c, d = first.shape[:-1], first.shape[-1], second.shape[-1]
    first, second = first.reshape(-1, c), second.reshape(-1, d)
    parts = _matrix(_products(descriptor, weight), c, d, one_stream=y is None)
    sums = first.T @ second
    live = sums != 0
    shares = np.divide(parts, sums, out=np.zeros_like(parts), where=live)
    heat = ((first @ shares) * second).sum(1) + parts[~live].sum() / len(first)
    if y is None:
        parts = np.triu(parts) + np.tril(parts, -1).T
    return Explanation(heat.reshape(spatial), parts, float(bias))


def pairs(explanation: Explanation, count: int) -> list[Pair]:
    """The `count` pairs of channels that speak most for the class, the strongest first.

    Of equal parts the first in row-major order comes first. Pairs whose part is not positive do
    not carry a score and are left out, so that there may be fewer.
    """
    flat = explanation.parts.ravel()
    total = float(flat.sum())
    found = []
    for place in np.argsort(-flat, kind="stable")[: max(count, 0)]:
        part = float(flat[place])
        if part <= 0:
            break
        first, second = divmod(int(place), explanation.parts.shape[1])
        found.append(Pair(first, second, part, part / total if total else None))
    return found


def _floats(name: str, value: Any) -> np.ndarray:
    """`value` in float64. Raises: TypeError for another kind of numbers, ValueError for NaN."""
    array = np.asarray(value)
    if array.dtype.name not in ACCUMULATION:
        remedy = "Pass it as a NumPy array of floating-point numbers."
        refuse(TypeError, OP, f"{name} must be of a real floating type", array.dtype.name, remedy)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        remedy = "Nothing is explained by NaN or an infinity."
        refuse(ValueError, OP, f"{name} must be finite", "numbers that are not", remedy)
    return array


def _products(descriptor: Any, weight: Any) -> np.ndarray:
    """``w · u``, entry by entry."""
    u, w = _floats("descriptor", descriptor), _floats("weight", weight)
    if u.ndim != 1 or u.shape != w.shape:
        received = f"descriptor {u.shape} and weight {w.shape}"
        remedy = "Pass those of one image and of one class."
        refuse(ValueError, OP, "descriptor and weight must be of one length", received, remedy)
    return u * w


def _matrix(products: np.ndarray, c: int, d: int, *, one_stream: bool) -> np.ndarray:
    """The entries of a descriptor by their channels; half of them fill the upper triangle."""
    if products.size == c * d:
        return products.reshape(c, d)
    sizes = (c * d, packed_size(c)) if one_stream else (c * d,)
    if products.size not in sizes:
        invariant = f"the descriptor must have {' or '.join(map(str, sizes))} entries"
        remedy = "Only the descriptors of BilinearPool can be explained."
        refuse(ValueError, OP, invariant, f"{products.size}", remedy)
    matrix = np.zeros((c, d))
    matrix[np.triu_indices(c)] = products
    return matrix
