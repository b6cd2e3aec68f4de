"""The pooled covariance of location features."""

from torch import Tensor

from ...contract.matrices import check_covariance_pool
from ._fx import leaf
from ._tensors import matmul, specs, upcast
from .outer_pool import count_locations, select_locations


@leaf
def covariance_pool(x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Covariance of two feature vectors over all locations.

    `bilinear.reference.covariance_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns: Covariances (N, C, D) in the dtype of x.
    Cost: time N·L·C·D; memory N·C·D and two centered copies of the features.

    Example:
        >>> covariance_pool(torch.rand(2, 49, 8)).shape
        torch.Size([2, 8, 8])
    """
    op = "covariance_pool"
    check_covariance_pool(*specs(op, x, y, mask))
    return covariance_pool_unchecked(x, y, mask).to(x.dtype)


def covariance_pool_unchecked(x: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    kind = upcast(x[:0]).dtype
    z = x.shape[1] if mask is None else count_locations(mask, kind)[:, None, None]
    x_centered = center_locations(upcast(x), mask, z)
    y_centered = x_centered if y is None else center_locations(upcast(y), mask, z)
    return matmul(x_centered.transpose(-2, -1), y_centered) / z


def center_locations(x: Tensor, mask: Tensor | None, z: Tensor | int) -> Tensor:
    """Features less their mean; 0 where masked."""
    kept = select_locations(x, mask)
    return select_locations(kept - kept.sum(1, keepdim=True) / z, mask)
