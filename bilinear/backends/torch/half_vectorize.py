"""The upper triangle of symmetric matrices as vectors."""

from torch import Tensor

from ...contract.pooling import check_half_vectorize
from ._tensors import spec, wide
from ._triangle import diagonal, packed


def half_vectorize(g: Tensor, *, isometric: bool = True) -> Tensor:
    """The entries on and above the diagonal, row by row: ``h = (w_cd · g[c, d] for c <= d)``.

    ``w_cd`` is 1 on the diagonal and, above it, √2 if `isometric` and 1 if not. With √2, inner
    products and norms of symmetric matrices are those of their vectors.

    Shapes: g (N, C, C) -> (N, C(C+1)/2), of pairs (0, 0), (0, 1) … (0, C-1), (1, 1) …
    Gradient: ``w_cd · γ`` on and above the diagonal, 0 below it.
    Edges: what is below the diagonal is never read, NaN included. Half types are multiplied in
        float32.
    Cost: time, memory and output N·C(C+1)/2, the gradient N·C².
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_half_vectorize`.
    Source: Magnus, Neudecker, SIAM J. Algebraic and Discrete Methods 1, 1980 (``vech``).
    """
    check_half_vectorize(spec("half_vectorize", "g", g), isometric)
    return halved(g, isometric).to(g.dtype)


def halved(g: Tensor, isometric: bool) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    return weighed(upper(g), g.shape[1]) if isometric else upper(g)


def upper(g: Tensor) -> Tensor:
    """The entries, in the accumulation dtype.

    Gathered, because the gradient of other ways to index takes five to a hundred times as long.
    """
    samples, channels = g.shape[:2]
    return wide(g.flatten(1).gather(1, packed(channels, g).expand(samples, -1)))


def weighed(packed: Tensor, channels: int) -> Tensor:
    """√2 times the entries that stood above the diagonal."""
    weight = packed.new_full(packed.shape[1:], 2**0.5)
    return packed * weight.index_fill(0, diagonal(channels, packed), 1.0)
