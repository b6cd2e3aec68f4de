"""The upper triangle of symmetric matrices as vectors."""

import numpy as np

from ..contract.pooling import check_half_vectorize
from ._arrays import Array, round_to, spec, upcast


def half_vectorize(g: Array, *, isometric: bool = True) -> Array:
    """The entries on and above the diagonal, row by row: ``h = (w_cd · g[c, d] for c <= d)``.

    ``w_cd`` is 1 on the diagonal and, above it, √2 if `isometric` and 1 if not. With √2, inner
    products and norms of symmetric matrices are those of their vectors.

    Args:
        g: matrices (N, C, C).
        isometric: whether entries above the diagonal are multiplied by √2, which preserves inner
            products and norms. Default True.

    Returns:
        Vectors (N, C(C+1)/2) in the dtype of g.

    Shape:
        g (N, C, C) -> (N, C(C+1)/2), of pairs (0, 0), (0, 1) … (0, C-1), (1, 1) ….

    Gradient:
        ``w_cd · γ`` on and above the diagonal, 0 below it.
        Entries below the diagonal are not read, so they may be NaN, and g need not be symmetric.

    Raises:
        ValueError for matrices that are not square, or C = 0 (N = 0 is allowed); TypeError for
        integer or complex g, or an `isometric` that is not a bool.

    Example:
        >>> half_vectorize(np.eye(3)[None], isometric=False)
        array([[1., 0., 0., 1., 0., 1.]])

    References:
        Magnus, Neudecker, "The Elimination Matrix: Some Lemmas and Applications", SIAM J.
        Algebraic and Discrete Methods 1, 1980 (``vech``); without √2 as in Li, Xie, Wang, Gao,
        CVPR 2018, section 3.3.
    """
    check_half_vectorize(spec(g), isometric)
    return round_to(_half_vectorize(upcast(g), isometric), g)


def half_vectorize_vjp(cotangent: Array, g: Array, *, isometric: bool = True) -> tuple[Array]:
    """Gradient of ``⟨cotangent, half_vectorize(g)⟩`` with respect to g."""
    check_half_vectorize(spec(g), isometric)
    return (round_to(_half_vectorize_vjp(upcast(cotangent), upcast(g), isometric), g),)


def _half_vectorize(g, isometric):
    c, d = np.triu_indices(g.shape[-1])
    return g[:, c, d] * _weights(g, isometric)


def _half_vectorize_vjp(ct, g, isometric):
    c, d = np.triu_indices(g.shape[-1])
    gradient = np.zeros(g.shape, ct.dtype)
    gradient[:, c, d] = ct * _weights(g, isometric)
    return gradient


def _weights(g, isometric):
    """w of the pairs, in the precision of g."""
    c, d = np.triu_indices(g.shape[-1])
    return np.where((c == d) | (not isometric), 1, np.sqrt(g.real.dtype.type(2)))
