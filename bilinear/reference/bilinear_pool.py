"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from ..contract import EPS, L2_EPS, Reduction, check_bilinear_pool
from ._arrays import Array, like, spec, wide
from .l2_normalize import _l2_normalize, _l2_normalize_vjp
from .outer_pool import _outer_pool, _outer_pool_vjp
from .signed_sqrt import _signed_sqrt, _signed_sqrt_vjp


def bilinear_pool(
    x: Array,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
) -> Array:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor. Half types are widened once at the start and
    rounded once at the end.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D).
    Gradient, edges, raises: those of the three steps, in that order.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3 (equations 1 and 2, then 3.1).
    """
    check_bilinear_pool(spec(x), spec(y), spec(mask), reduction, eps, l2_eps)
    return like(_bilinear_pool(wide(x), wide(y), mask, reduction, eps, l2_eps), x)


def bilinear_pool_vjp(
    cotangent: Array,
    x: Array,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, bilinear_pool(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_bilinear_pool(spec(x), spec(y), spec(mask), reduction, eps, l2_eps)
    gradients = _bilinear_pool_vjp(wide(cotangent), wide(x), wide(y), mask, reduction, eps, l2_eps)
    return tuple(like(gradient, x) for gradient in gradients)


def _bilinear_pool(x, y, mask, reduction, eps, l2_eps):
    g = _outer_pool(x, y, mask, reduction)
    return _l2_normalize(_signed_sqrt(_flatten(g), eps), l2_eps)


def _bilinear_pool_vjp(ct, x, y, mask, reduction, eps, l2_eps):
    g = _outer_pool(x, y, mask, reduction)
    s = _signed_sqrt(_flatten(g), eps)
    ct = _signed_sqrt_vjp(_l2_normalize_vjp(ct, s, l2_eps), _flatten(g), eps)
    return _outer_pool_vjp(ct.reshape(g.shape), x, y, mask, reduction)


def _flatten(g):
    return g.reshape(g.shape[0], g.shape[1] * g.shape[2])  # explicit sizes: N may be 0
