"""The element-wise signed square root."""

import torch
from torch import Tensor

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._fx import leaf
from ._tensors import spec, upcast, use_plain_operations


@leaf
def signed_sqrt(
    g: Tensor, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> Tensor:
    """Signed square root of each entry: ``sign(g) · √(|g| + eps)``.

    `bilinear.reference.signed_sqrt` specifies the values, gradients and errors.

    Args:
        g: values of any shape.
        eps: added inside the root, 0 or a positive number. Default 1e-10.
        root: ``"signed"``, ``"shifted"`` or ``"unsigned"``. Default ``"signed"``.
        slope_eps: positive number for a published backward pass, ``1 / (2 (√|g| + slope_eps))``,
            which needs ``root="signed"`` and ``eps=0``; None is the derivative. Default None.

    Returns: Roots in the shape and dtype of g.
    Cost: time and memory of the size of g.

    Example:
        >>> signed_sqrt(torch.tensor([-4.0, 0.0, 9.0]), eps=0)
        tensor([-2.,  0.,  3.])
    """
    check_signed_sqrt(spec("signed_sqrt", "g", g), eps, root, slope_eps)
    return signed_sqrt_unchecked(upcast(g), eps, root, slope_eps).to(g.dtype)


def signed_sqrt_unchecked(
    g: Tensor, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> Tensor:
    """The unchecked formula."""
    if root != "signed" or slope_eps is not None or use_plain_operations():
        return signed_sqrt_plain(g, eps, root, slope_eps)
    return _Root.apply(g, eps)  # pyright: ignore[reportReturnType]


def signed_sqrt_plain(
    g: Tensor, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> Tensor:
    """The unchecked formula in steps that compilers and every derivative see through.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through.
    """
    if root == "unsigned":
        return (g + eps).sqrt()
    if slope_eps is not None:
        still = g.detach()
        return signed_sqrt_unchecked(still, eps) + 0.5 / (still.abs().sqrt() + slope_eps) * (
            g - still
        )
    dead = g == 0
    safe = torch.where(dead, 1.0, g)
    magnitude = (safe.abs() + eps).sqrt()
    if root == "shifted":  # √(|g| + eps) - √eps, which would cancel
        magnitude = safe.abs() / (magnitude + eps**0.5)
    return torch.where(dead, 0.0 * g, safe.sign() * magnitude)


class _Root(torch.autograd.Function):
    """(g, eps) -> s in few passes over memory. The slope is read off it: ``1 / (2 |s|)``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g, eps):
        sign = g.sign()  # sign(NaN) is 0, and 0 · NaN is NaN
        return torch.addcmul(_scalar(eps, g), g, sign).sqrt_().mul_(sign)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        g, ctx.eps = inputs
        ctx.save_for_backward(g, output)
        ctx.save_for_forward(g)

    @staticmethod
    def backward(ctx, cotangent):
        g, s = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated: from the input again
            return signed_sqrt_jvp(cotangent, signed_sqrt_plain(g, ctx.eps)), None
        slope = torch.threshold_(s.abs(), 0.0, torch.inf)  # at 0 it gives 0 · cotangent
        return cotangent / slope.mul_(2), None

    @staticmethod
    def jvp(ctx, dg, _):
        (g,) = ctx.saved_tensors
        return signed_sqrt_jvp(dg, signed_sqrt_plain(g, ctx.eps))


def signed_sqrt_jvp(dg: Tensor, s: Tensor) -> Tensor:
    """``dg / (2 |s|)``, the slope by the root s, and 0 · dg where that is 0; differentiable."""
    dead = s == 0
    return torch.where(dead, 0.0 * dg, 0.5 * dg / torch.where(dead, 1.0, s.abs()))


def signed_sqrt_(g: Tensor, share: float, eps: float, sign: Tensor) -> Tensor:
    """The root of ``share · g`` in place of `g`; `sign` is space of its size. 0 · NaN is NaN."""
    torch.sign(g, out=sign)
    return torch.addcmul(_scalar(eps, g), g, sign, value=share, out=g).sqrt_().mul_(sign)


def _scalar(value: float, like: Tensor) -> Tensor:
    """A tensor of one value, which is not copied from the host: a GPU would be waited for."""
    return torch.full((), value, dtype=like.dtype, device=like.device)
