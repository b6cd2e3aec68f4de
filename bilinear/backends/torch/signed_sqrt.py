"""The element-wise signed square root."""

import torch
from torch import Tensor

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._tensors import by_plain_steps, spec, wide


def signed_sqrt(
    g: Tensor, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> Tensor:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Published forms: ``"shifted"`` is continuous, ``sign(g) · (√(|g| + eps) - √eps)``;
    ``"unsigned"`` is ``√(g + eps)``, for values that are not negative.

    Shapes: g of any shape -> the same.
    Gradient: ``1 / (2 √(|g| + eps))``. With `slope_eps`, for eps = 0, a published backward pass
        stands in its place that is not the derivative, ``1 / (2 (√|g| + slope_eps))``; what it
        returns is a constant to further derivatives.
    Edges: exactly 0 at ±0, where every derivative of every order is 0 too, eps = 0 included.
        Not so at 0: the unsigned form, whose value is √eps and slope 1 / (2 √eps) (below -eps it
        is NaN), and the slope 1 / (2 slope_eps). NaN stays NaN. Half types are computed in
        float32.
    Cost: time, memory and output of the size of g.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_signed_sqrt` and
        `bilinear.contract.options.check_root`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1.
    """
    op = "signed_sqrt"
    received = spec(op, "g", g)
    check_signed_sqrt(received, eps, root, slope_eps)
    return rooted(wide(g), eps, root, slope_eps).to(g.dtype)


def rooted(g: Tensor, eps: float, root: Root = "signed", slope_eps: float | None = None) -> Tensor:
    """The unchecked formula."""
    if root != "signed" or slope_eps is not None or by_plain_steps():
        return stepwise(g, eps, root, slope_eps)
    return _Root.apply(g, eps)  # pyright: ignore[reportReturnType]


def stepwise(
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
        return rooted(still, eps) + 0.5 / (still.abs().sqrt() + slope_eps) * (g - still)
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
        sign = g.sign()  # 0 at NaN, and 0 · NaN is NaN
        return (g * sign).add_(eps).sqrt_().mul_(sign)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        g, ctx.eps = inputs
        ctx.save_for_backward(g, output)
        ctx.save_for_forward(g)

    @staticmethod
    def backward(ctx, cotangent):
        g, s = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated: from the input again
            return sloped(cotangent, stepwise(g, ctx.eps)), None
        slope = torch.threshold_(s.abs(), 0.0, torch.inf)  # at 0 it gives 0 · cotangent
        return cotangent / slope.mul_(2), None

    @staticmethod
    def jvp(ctx, dg, _):
        (g,) = ctx.saved_tensors
        return sloped(dg, stepwise(g, ctx.eps))


def sloped(dg: Tensor, s: Tensor) -> Tensor:
    """``dg / (2 |s|)``, the slope by the root s, and 0 · dg where that is 0; differentiable."""
    dead = s == 0
    return torch.where(dead, 0.0 * dg, 0.5 * dg / torch.where(dead, 1.0, s.abs()))


def rooted_(g: Tensor, share: float, eps: float, sign: Tensor) -> Tensor:
    """Of ``share · g`` in place of `g`, without a gradient; `sign` is space of its size.

    It is 0 at 0; the sign of NaN is 0, and 0 · NaN is NaN.
    """
    torch.sign(g, out=sign)
    return torch.addcmul(g.new_tensor(eps), g, sign, value=share, out=g).sqrt_().mul_(sign)
