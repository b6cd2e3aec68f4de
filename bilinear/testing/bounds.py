"""Error bounds of a correct implementation, derived from the inputs.

This is standard rounding analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
chapters 2-3). With u the unit roundoff of the accumulation dtype, a sum of n products errs by at
most ``γ_n Σ|a||b|`` with ``γ_n = n u / (1 - n u)``, in any order of summation, with or without
fused multiply-add.

Each function takes an exact value with its error bound and returns the next value with its bound,
so that steps can be chained. Everything is computed in extended precision. A bound is
componentwise. It is infinite where the operator is discontinuous within the error of its argument
(a slope near 0, a norm near its floor). `acc` is the accumulation dtype, or "tensorfloat32" if
matrix products round their float32 factors first.
"""

from typing import NamedTuple

import numpy as np

from .tolerances import FACTOR_ROUNDOFF, UNIT_ROUNDOFF

Extended = np.longdouble


class Bounded(NamedTuple):
    """An exact value, and the bound on the absolute error of each component."""

    value: np.ndarray
    error: np.ndarray


def exact(value: np.ndarray) -> Bounded:
    return Bounded(value, np.zeros_like(value))


def gamma(n: int, accumulation: str) -> float:
    nu = n * UNIT_ROUNDOFF[accumulation]
    return nu / (1 - nu)


def products(n: int, acc: str) -> float:
    """Error of a sum of n products relative to Σ|a||b|: γ_n, plus the rounding of the factors."""
    f = FACTOR_ROUNDOFF.get(acc, 0.0)
    return gamma(n, acc) * (1 + f) ** 2 + 2 * f + f * f


def select_locations(x: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    """Set the locations where the mask is False to 0."""
    return x if keep is None else np.where(keep[:, :, None], x, 0)


def outer_pool(x, y, keep, z, acc: str) -> Bounded:
    """Sums of L products, then one division (or a reciprocal and a product: 2 roundings)."""
    x, y = select_locations(x, keep), select_locations(y, keep)
    magnitude = np.einsum("nlc,nld->ncd", np.abs(x), np.abs(y)) / z
    value = np.einsum("nlc,nld->ncd", x, y) / z
    return Bounded(value, products(x.shape[1] + 3, acc) * magnitude)


def outer_pool_vjp(g: Bounded, other, keep, z, acc: str, *, transpose: bool, extra=None) -> Bounded:
    """``Γ y / Z`` (or ``Γᵀ x / Z``): sums of D products with an inexact Γ, then a division.

    `extra` is the second term of the gradient with one stream, added with one more rounding.
    """
    rule = "ncd,nlc->nld" if transpose else "ncd,nld->nlc"
    other = select_locations(other, keep)
    value = np.einsum(rule, g.value, other) / z
    magnitude = np.einsum(rule, np.abs(g.value) + g.error, np.abs(other)) / z
    carried = np.einsum(rule, g.error, np.abs(other)) / z
    terms = g.value.shape[1 if transpose else 2]
    error = carried + products(2 * terms + 4, acc) * magnitude
    if extra is not None:
        value, error = value + extra.value, error + extra.error
    return Bounded(select_locations(value, keep), select_locations(error, keep))


def signed_sqrt(g: Bounded, eps: float, acc: str, root: str = "signed") -> Bounded:
    """The root is monotone, so that the root of an inexact g lies between those of its two ends.

    This also holds near 0, where the sign is uncertain and the value jumps by 2√eps. Rounding eps,
    adding it and taking the root are 3 roundings; √eps, the sum and the quotient of the shifted
    root are 3 more. The rounding of eps matters where the unsigned g + eps cancels.
    """
    value, off = _root(g.value, eps, root), g.error + _of_eps(eps, acc, root)
    above = _root(g.value + off, eps, root) - value
    below = value - _root(g.value - off, eps, root)
    error = _nan_to_inf(np.maximum(above, below), value)
    return Bounded(value, error + gamma(6 if root == "shifted" else 3, acc) * np.abs(value))


def signed_sqrt_vjp(
    ct: Bounded, g: Bounded, eps: float, acc: str, root: str = "signed", slope_eps=None
) -> Bounded:
    """``slope(g) · ct``; the slope decreases in |g|, except that it is 0 at exactly 0.

    The derivative of the shifted form's quotient is a sum of two terms with about ten roundings
    each, at most twice and once as large as the slope.
    """

    def f(size):
        with np.errstate(divide="ignore", invalid="ignore"):
            if slope_eps is not None:
                return 0.5 / (np.sqrt(size) + slope_eps)
            return 0.5 / np.sqrt(size + eps)

    even, jumps = root != "unsigned", root != "unsigned" and slope_eps is None
    size, off = np.abs(g.value) if even else g.value, g.error + _of_eps(eps, acc, root)
    slope = np.where(jumps & (size == 0), 0, f(size))
    steepest = f(np.maximum(size - off, 0) if even else size - off)
    flattest = np.where(jumps & (size <= off), 0, f(size + off))
    error = np.where(off > 0, np.maximum(steepest - slope, slope - flattest), 0)
    error = _nan_to_inf(error, slope) + gamma(30 if root == "shifted" else 4, acc) * slope
    return _product(Bounded(slope, error), ct, acc)


def half_vectorize(g: Bounded, acc: str, *, isometric: bool = True) -> Bounded:
    """√2 and the product with it are rounded."""
    c, d = np.triu_indices(g.value.shape[-1])
    return _scale_off_diagonal(Bounded(g.value[:, c, d], g.error[:, c, d]), c, d, acc, isometric)


def half_vectorize_vjp(ct: Bounded, channels: int, acc: str, *, isometric: bool = True) -> Bounded:
    """The cotangent of each pair is scaled by the same weights."""
    c, d = np.triu_indices(channels)
    full = Bounded(*(np.zeros((len(ct.value), channels, channels), Extended) for _ in range(2)))
    full.value[:, c, d], full.error[:, c, d] = _scale_off_diagonal(ct, c, d, acc, isometric)
    return full


def _scale_off_diagonal(h: Bounded, c, d, acc: str, isometric: bool) -> Bounded:
    above = (c < d) & isometric
    w = np.where(above, np.sqrt(Extended(2)), 1)
    rounded = np.where(above, gamma(2, acc) * w * (np.abs(h.value) + h.error), 0)
    return Bounded(w * h.value, w * h.error + rounded)


def l2_normalize(z: Bounded, eps: float, acc: str, norm: str = "floor") -> Bounded:
    """``z / max(‖z‖, eps)``, at most the largest numerator over the smallest norm; 3 roundings."""
    length, length_error = _norm_and_error(z, eps, acc, norm)
    value = z.value / length
    largest = (np.abs(z.value) + z.error) / _positive(length - length_error)
    error = largest - np.abs(value) + gamma(3, acc) * largest
    return Bounded(value, error)


def l2_normalize_vjp(ct: Bounded, z: Bounded, eps: float, acc: str, norm: str = "floor") -> Bounded:
    """``(γ - u⟨u,γ⟩) / ‖z‖`` above the floor, ``γ / eps`` below it."""
    length, length_error = _norm_and_error(z, eps, acc, norm)
    u = l2_normalize(z, eps, acc, norm)
    terms = z.value.shape[-1]
    largest = np.abs(ct.value) + ct.error
    along = np.sum(u.value * ct.value, axis=-1, keepdims=True)
    size = np.sum((np.abs(u.value) + u.error) * largest, axis=-1, keepdims=True)
    along_error = np.sum(u.error * largest + np.abs(u.value) * ct.error, axis=-1, keepdims=True)
    along_error = along_error + gamma(terms + 4, acc) * size
    difference = ct.value - u.value * along
    difference_error = ct.error + np.abs(u.value) * along_error + u.error * size
    difference_error = difference_error + gamma(8, acc) * (largest + np.abs(u.value) * size)
    shortest = _positive(length - length_error)
    above = Bounded(
        difference / length,
        (np.abs(difference) + difference_error) / shortest - np.abs(difference) / length,
    )
    if norm == "added":  # this form has no floor
        return above
    below = Bounded(ct.value / length, (ct.error + gamma(4, acc) * largest) / length)
    raw = np.sqrt(np.sum(z.value * z.value, axis=-1, keepdims=True))
    raw_error = _raw_norm_error(z, raw, acc)
    floored = np.broadcast_to(raw <= eps, ct.value.shape)
    undecided = np.abs(raw - eps) <= raw_error + gamma(2, acc) * eps  # either branch is correct
    error = np.where(undecided, np.inf, np.where(floored, below.error, above.error))
    return Bounded(np.where(floored, below.value, above.value), error)


def _product(a: Bounded, b: Bounded, acc: str) -> Bounded:
    value = a.value * b.value
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    with np.errstate(invalid="ignore"):
        error = size_a * b.error + a.error * (size_b + b.error)
    error = _nan_to_inf(error, value)  # 0 · inf
    return Bounded(value, error + gamma(1, acc) * (np.abs(value) + error))


def _norm_and_error(z: Bounded, eps: float, acc: str, norm: str):
    square = np.sum(z.value * z.value, axis=-1, keepdims=True)
    if norm == "added":
        length = np.sqrt(square + eps)
        return length, _raw_norm_error(z, length, acc, 2)
    raw = np.sqrt(square)
    error = _raw_norm_error(z, raw, acc)
    length = np.where(raw <= eps, eps, raw)
    return length, np.where(raw + error <= eps, gamma(1, acc) * eps, error)


def _raw_norm_error(z: Bounded, raw, acc: str, more: int = 0):
    """‖z + δ‖ differs from ‖z‖ by at most ‖δ‖; K squares, their sum and the root are rounded."""
    carried = np.sqrt(np.sum(z.error * z.error, axis=-1, keepdims=True))
    return carried + gamma(z.value.shape[-1] + 2 + more, acc) * (raw + carried)


def _positive(x):
    """Replace values that are not positive by a tiny one, so that a quotient is practically inf."""
    return np.where(x > 0, x, np.finfo(Extended).tiny)


def _root(g, eps, root):
    with np.errstate(invalid="ignore"):
        if root == "unsigned":
            return np.sqrt(g + eps)
        magnitude = np.sqrt(np.abs(g) + eps)
        return (
            np.sign(g) * magnitude
            if root == "signed"
            else g / np.where(g == 0, 1, magnitude + eps**0.5)
        )


def _of_eps(eps, acc, root):
    """Error of ``g + eps`` by the rounding of eps, where g may be negative."""
    return gamma(1, acc) * eps if root == "unsigned" else 0.0


def _nan_to_inf(error, value):
    """Set the error to inf where it is NaN although the value is defined."""
    return np.where(np.isnan(error) & ~np.isnan(value), np.inf, error)
