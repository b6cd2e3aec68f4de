"""Eigenvalues and eigenvectors of symmetric matrices, by cyclic Jacobi rotations.

The backends use another method. This one runs in any precision. Each rotation sets one pair of
entries off the diagonal to 0. Later rotations of the sweep change them again, but they shrink
quadratically from sweep to sweep. The formulas are analytic, so that the complex step can be used.
"""

import itertools

import numpy as np

SWEEPS = 30
"""About 10 are needed; with NaN the sweeps would never end."""
NOTHING = 1e-50
"""Fraction of the largest entry that counts as 0, also beside a complex step of 1e-30."""


def eigh(a):
    """``a = u diag(values) uᵀ`` of a (N, C, C): values (N, C) in any order, u (N, C, C)."""
    a = np.array(a)
    channels = a.shape[-1]
    u = np.broadcast_to(np.eye(channels, dtype=a.dtype), a.shape).copy()
    outside = ~np.eye(channels, dtype=bool)
    for _ in range(SWEEPS):
        if np.all(np.abs(a[:, outside]) <= NOTHING * np.abs(a).max(initial=0)):
            break
        for p, q in itertools.combinations(range(channels), 2):
            cos, sin = _rotation(a[:, p, p], a[:, q, q], a[:, p, q])
            _turn(a, p, q, cos, sin)
            _turn(a.swapaxes(1, 2), p, q, cos, sin)
            _turn(u, p, q, cos, sin)
            set_to_zero = ~np.isnan(a[:, p, q])
            a[set_to_zero, p, q] = a[set_to_zero, q, p] = 0
    return np.einsum("nii->ni", a), u


def _rotation(app, aqq, apq):
    """Cosine and sine of the smaller of the two angles that make a_pq 0."""
    gap = aqq - app
    sign = np.where(gap.real < 0, -1, 1)
    width = gap + sign * np.sqrt(gap * gap + 4 * apq * apq)
    done = apq == 0
    tangent = np.where(done, 0, 2 * apq / np.where(done, 1, width))
    cos = 1 / np.sqrt(1 + tangent * tangent)
    return cos[:, None], (tangent * cos)[:, None]


def _turn(m, p, q, cos, sin):
    """Rotate columns p and q of `m` in place."""
    mp, mq = m[:, :, p].copy(), m[:, :, q].copy()
    m[:, :, p] = cos * mp - sin * mq
    m[:, :, q] = sin * mp + cos * mq
