"""The upper triangle of symmetric matrices as vectors."""

from torch import Tensor

from ...contract.pooling import check_half_vectorize
from ._fx import leaf
from ._tensors import spec, upcast
from ._triangle import diagonal_entries, packed_to_flat


@leaf
def half_vectorize(g: Tensor, *, isometric: bool = True) -> Tensor:
    """Return the entries on and above the diagonal of symmetric matrices, row by row.

    `bilinear.reference.half_vectorize` specifies the values, gradients and errors.

    Args:
        g: matrices (N, C, C).
        isometric: multiply entries above the diagonal by √2: equal inner products. Default True.

    Returns: Vectors (N, C(C+1)/2) in the dtype of g.
    Cost: time and memory N·C(C+1)/2, the gradient N·C².

    Example:
        >>> half_vectorize(torch.eye(3)[None], isometric=False)
        tensor([[1., 0., 0., 1., 0., 1.]])
    """
    check_half_vectorize(spec("half_vectorize", "g", g), isometric)
    return half_vectorize_unchecked(g, isometric).to(g.dtype)


def half_vectorize_unchecked(g: Tensor, isometric: bool) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    return scale_off_diagonal(upper_triangle(g), g.shape[1]) if isometric else upper_triangle(g)


def upper_triangle(g: Tensor) -> Tensor:
    """The entries on and above the diagonal. Other indexing than a gather has a slow gradient."""
    samples, channels = g.shape[:2]
    return upcast(g.flatten(1).gather(1, packed_to_flat(channels, g).expand(samples, -1)))


def scale_off_diagonal(packed: Tensor, channels: int) -> Tensor:
    """Multiply the entries above the diagonal by √2."""
    weight = packed.new_full(packed.shape[1:], 2**0.5)
    return packed * weight.index_fill(0, diagonal_entries(channels, packed), 1.0)
