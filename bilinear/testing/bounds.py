"""How far a correct implementation may be from the truth: error bounds, derived from the inputs.

Standard rounding analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
chapters 2-3). With u the unit roundoff of the accumulation type, a sum of products of n terms,
in any order, with or without fused multiply-add, errs by at most ``γ_n Σ|a||b|`` with
``γ_n = n u / (1 - n u)``. Each function takes an exact value with the bound on its error so far
and returns the next value with its bound, so the steps chain. Everything is computed in
extended precision; a bound is componentwise, and infinite where the operator is discontinuous
within the error of its argument (a slope beside 0, a norm beside its floor): there nothing is
promised. `acc` names the arithmetic: the type that is accumulated in, or "tensorfloat32" where a
matrix product first rounds its float32 factors.
"""

from typing import NamedTuple

import numpy as np

from .tolerances import FACTOR_ROUNDOFF, UNIT_ROUNDOFF

Wide = np.longdouble


class Bounded(NamedTuple):
    """An exact value and how far, in each component, a computed one may be from it."""

    value: np.ndarray
    error: np.ndarray


def exact(value: np.ndarray) -> Bounded:
    return Bounded(value, np.zeros_like(value))


def gamma(n: int, accumulation: str) -> float:
    nu = n * UNIT_ROUNDOFF[accumulation]
    return nu / (1 - nu)


def products(n: int, acc: str) -> float:
    """Of a sum of n products, relative to Σ|a||b|: γ_n, and what factors lose on their way in."""
    f = FACTOR_ROUNDOFF.get(acc, 0.0)
    return gamma(n, acc) * (1 + f) ** 2 + 2 * f + f * f


def outer_pool(x, y, keep, z, acc: str) -> Bounded:
    """Sums of L products, then one division (or a reciprocal and a product: 2 roundings)."""
    x, y = _kept(x, keep), _kept(y, keep)
    magnitude = np.einsum("nlc,nld->ncd", np.abs(x), np.abs(y)) / z
    value = np.einsum("nlc,nld->ncd", x, y) / z
    return Bounded(value, products(x.shape[1] + 3, acc) * magnitude)


def outer_pool_vjp(g: Bounded, other, keep, z, acc: str, *, transpose: bool, extra=None) -> Bounded:
    """``Γ y / Z`` (or ``Γᵀ x / Z``): sums of D products with an inexact Γ, then a division.

    `extra` is the other product of the one-stream gradient, added with one more rounding.
    """
    rule = "ncd,nlc->nld" if transpose else "ncd,nld->nlc"
    other = _kept(other, keep)
    value = np.einsum(rule, g.value, other) / z
    magnitude = np.einsum(rule, np.abs(g.value) + g.error, np.abs(other)) / z
    carried = np.einsum(rule, g.error, np.abs(other)) / z
    terms = g.value.shape[1 if transpose else 2]
    error = carried + products(2 * terms + 4, acc) * magnitude
    if extra is not None:
        value, error = value + extra.value, error + extra.error
    return Bounded(_kept(value, keep), _kept(error, keep))


def signed_sqrt(g: Bounded, eps: float, acc: str, root: str = "signed") -> Bounded:
    """Monotone, so the root of an inexact g lies between the roots of its two ends.

    That is honest beside 0, where the sign itself is uncertain and the value jumps by 2√eps.
    Rounding eps, adding it and taking the root cost 3 roundings of the result; √eps, the sum and
    the quotient of the shifted root 3 more. Where the unsigned g + eps cancels, eps is inexact.
    """
    value, off = _root(g.value, eps, root), g.error + _of_eps(eps, acc, root)
    above = _root(g.value + off, eps, root) - value
    below = value - _root(g.value - off, eps, root)
    error = _promised(np.maximum(above, below), value)
    return Bounded(value, error + gamma(6 if root == "shifted" else 3, acc) * np.abs(value))


def signed_sqrt_vjp(
    ct: Bounded, g: Bounded, eps: float, acc: str, root: str = "signed", slope_eps=None
) -> Bounded:
    """``slope(g) · ct``; the slope is decreasing in |g| except that it is 0 at exactly 0.

    Differentiating the shifted form's quotient sums two terms of some ten roundings each, which
    are at most twice and once the slope.
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
    error = _promised(error, slope) + gamma(30 if root == "shifted" else 4, acc) * slope
    return _product(Bounded(slope, error), ct, acc)


def half_vectorize(g: Bounded, acc: str, *, isometric: bool = True) -> Bounded:
    """√2 is rounded, and so is the product with it."""
    c, d = np.triu_indices(g.value.shape[-1])
    return _weighed(Bounded(g.value[:, c, d], g.error[:, c, d]), c, d, acc, isometric)


def half_vectorize_vjp(ct: Bounded, channels: int, acc: str, *, isometric: bool = True) -> Bounded:
    """The same weights, of the cotangent of each pair."""
    c, d = np.triu_indices(channels)
    full = Bounded(*(np.zeros((len(ct.value), channels, channels), Wide) for _ in range(2)))
    full.value[:, c, d], full.error[:, c, d] = _weighed(ct, c, d, acc, isometric)
    return full


def _weighed(h: Bounded, c, d, acc: str, isometric: bool) -> Bounded:
    above = (c < d) & isometric
    w = np.where(above, np.sqrt(Wide(2)), 1)
    rounded = np.where(above, gamma(2, acc) * w * (np.abs(h.value) + h.error), 0)
    return Bounded(w * h.value, w * h.error + rounded)


def l2_normalize(z: Bounded, eps: float, acc: str, norm: str = "floor") -> Bounded:
    """``z / max(‖z‖, eps)``: at most the largest numerator over the smallest norm, 3 roundings."""
    length, length_error = _floored_norm(z, eps, acc, norm)
    value = z.value / length
    largest = (np.abs(z.value) + z.error) / _positive(length - length_error)
    error = largest - np.abs(value) + gamma(3, acc) * largest
    return Bounded(value, error)


def l2_normalize_vjp(ct: Bounded, z: Bounded, eps: float, acc: str, norm: str = "floor") -> Bounded:
    """``(γ - u⟨u,γ⟩) / ‖z‖`` above the floor, ``γ / eps`` below it."""
    length, length_error = _floored_norm(z, eps, acc, norm)
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
    if norm == "added":  # one formula, below as above
        return above
    below = Bounded(ct.value / length, (ct.error + gamma(4, acc) * largest) / length)
    raw = np.sqrt(np.sum(z.value * z.value, axis=-1, keepdims=True))
    raw_error = _raw_norm_error(z, raw, acc)
    floored = np.broadcast_to(raw <= eps, ct.value.shape)
    undecided = np.abs(raw - eps) <= raw_error + gamma(2, acc) * eps  # which branch? no promise
    error = np.where(undecided, np.inf, np.where(floored, below.error, above.error))
    return Bounded(np.where(floored, below.value, above.value), error)


def _product(a: Bounded, b: Bounded, acc: str) -> Bounded:
    value = a.value * b.value
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    with np.errstate(invalid="ignore"):
        error = size_a * b.error + a.error * (size_b + b.error)
    error = np.where(np.isnan(error) & ~np.isnan(value), np.inf, error)  # 0 · inf: no promise
    return Bounded(value, error + gamma(1, acc) * (np.abs(value) + error))


def _floored_norm(z: Bounded, eps: float, acc: str, norm: str):
    square = np.sum(z.value * z.value, axis=-1, keepdims=True)
    if norm == "added":
        length = np.sqrt(square + eps)
        return length, _raw_norm_error(z, length, acc, 2)
    raw = np.sqrt(square)
    error = _raw_norm_error(z, raw, acc)
    length = np.where(raw <= eps, eps, raw)
    return length, np.where(raw + error <= eps, gamma(1, acc) * eps, error)


def _raw_norm_error(z: Bounded, raw, acc: str, more: int = 0):
    """‖z + δ‖ differs from ‖z‖ by at most ‖δ‖; K squares, their sum and a root round besides."""
    carried = np.sqrt(np.sum(z.error * z.error, axis=-1, keepdims=True))
    return carried + gamma(z.value.shape[-1] + 2 + more, acc) * (raw + carried)


def _positive(x):
    """`x`, or 0⁺ where it is not positive, so that dividing by it gives an infinite bound."""
    return np.where(x > 0, x, np.finfo(Wide).tiny)


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
    """How far from the sum of two signs the rounding of eps moves it."""
    return gamma(1, acc) * eps if root == "unsigned" else 0.0


def _promised(error, value):
    """Nothing, where an end of the argument is outside the domain that the value is in."""
    return np.where(np.isnan(error) & ~np.isnan(value), np.inf, error)


def _kept(x, keep):
    return x if keep is None else np.where(keep[:, :, None], x, 0)
