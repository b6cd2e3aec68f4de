"""Low-rank bilinear pooling: products of projections, pooled."""

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.low_rank import Activation, check_low_rank_pool
from ._fx import leaf
from ._tensors import check_devices, matmul, spec, specs, upcast
from .hadamard_pool import hadamard_pool_unchecked
from .outer_pool import select_locations


@leaf
def low_rank_pool(
    x: Tensor,
    u: Tensor,
    v: Tensor,
    y: Tensor | None = None,
    *,
    activation: Activation = None,
    rank: int = 1,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Low-rank bilinear pooling: ``hadamard_pool(σ(x u), σ(y v))``.

    `bilinear.reference.low_rank_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        u: projection of the first stream, (C, R).
        v: projection of the second stream, (D, R).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        activation: σ: ``"tanh"``, ``"relu"``, ``"sigmoid"``, or None. Default None, the identity.
        rank: number of consecutive products that are summed, a divisor of R. Default 1.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.

    Returns: Sums (N, R / rank) in the dtype of x.
    Cost: time N·L·(C + D)·R, memory N·L·R. No array of size C·D is formed.

    Example:
        >>> x, u = torch.rand(2, 49, 8), torch.rand(8, 16)
        >>> low_rank_pool(x, u, u).shape
        torch.Size([2, 16])
    """
    op = "low_rank_pool"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    weights = spec(op, "u", u), spec(op, "v", v)
    check_low_rank_pool(of_x, *weights, of_y, activation, rank, of_mask, reduction)
    check_devices(op, x=x, u=u, v=v, y=y, mask=mask)
    return low_rank_pool_unchecked(x, u, v, y, activation, rank, mask, reduction).to(x.dtype)


def low_rank_pool_unchecked(
    x: Tensor,
    u: Tensor,
    v: Tensor,
    y: Tensor | None,
    activation: Activation,
    rank: int,
    mask: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype of x, whatever that of u and v."""
    x_kept = select_locations(upcast(x), mask)
    y_kept = x_kept if y is None else select_locations(upcast(y), mask)
    pairs = (x_kept, u), (y_kept, v)
    streams = [activate(project(s, w, x.dtype, w.dtype), activation) for s, w in pairs]
    return hadamard_pool_unchecked(streams, rank, mask, reduction)


def project(x: Tensor, u: Tensor, *dtypes: torch.dtype) -> Tensor:
    """``x u`` of every location, in the dtype of x; as one product, whose gradient is one too.

    `dtypes` are those of both before they were upcast.
    """
    product = matmul(x.flatten(0, 1), u.to(x.dtype), *dtypes)
    return product.reshape(x.shape[0], x.shape[1], u.shape[1])


def activate(p: Tensor, activation: Activation) -> Tensor:
    """σ(p). relu keeps 0·p where it is 0, which lets a NaN cotangent through."""
    if activation == "tanh":
        return torch.tanh(p)
    if activation == "sigmoid":
        return torch.sigmoid(p)
    return p if activation is None else torch.where(p <= 0, 0.0 * p, p)
