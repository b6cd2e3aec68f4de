"""The maximum of the outer products of location features."""

from torch import Tensor

from ...contract.aggregation import check_outer_max_pool
from ._outer_max import outer_max
from ._tensors import specs, upcast
from .outer_pool import select_locations


def outer_max_pool(x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Take the largest product of each pair of channels over all locations.

    `bilinear.reference.outer_max_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns:
        Maxima (N, C, D) in the dtype of x.

    Cost: time O(N·L·C·D). Memory O(N·C·D) and one block of products, forward and backward: N·L·D
        values for each of as many channels as fit into 32 MiB, but at least one channel. In
        compiled or traced code, and in a forward derivative of a forward derivative, one block has
        all products; a compiler may fuse it with the sums that follow.

    Example:
        >>> outer_max_pool(torch.rand(2, 49, 8)).shape
        torch.Size([2, 8, 8])
    """
    op = "outer_max_pool"
    check_outer_max_pool(*specs(op, x, y, mask))
    return outer_max_pool_unchecked(x, y, mask).to(x.dtype)


def outer_max_pool_unchecked(x: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = select_locations(upcast(x), mask)
    y_kept = x_kept if y is None else select_locations(upcast(y), mask)
    return outer_max(x_kept, y_kept, mask)
