"""The element-wise signed square root."""

import torch
from torch import Tensor

from ...contract import EPS, check_signed_sqrt
from ._tensors import spec, wide


def signed_sqrt(g: Tensor, *, eps: float = EPS) -> Tensor:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Shapes: g of any shape -> the same.
    Gradient: ``1 / (2 √(|g| + eps))``.
    Edges: exactly 0 at ±0, where every derivative of every order is 0 too, eps = 0 included.
        NaN stays NaN. Half types are computed in float32.
    Raises: ValueError and TypeError as `bilinear.contract.check_signed_sqrt`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1.
    """
    check_signed_sqrt(spec("signed_sqrt", "g", g), eps)
    return rooted(wide(g), eps).to(g.dtype)


def rooted(g: Tensor, eps: float) -> Tensor:
    """The unchecked formula.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through.
    """
    dead = g == 0
    safe = torch.where(dead, 1.0, g)
    return torch.where(dead, 0.0 * g, safe.sign() * (safe.abs() + eps).sqrt())
