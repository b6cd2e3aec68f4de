"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from ..contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ..contract.pooling import check_bilinear_pool
from ._arrays import Array, round_to, spec, upcast
from .half_vectorize import _half_vectorize, _half_vectorize_vjp
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
    packed: bool = False,
    root: Root = "signed",
    slope_eps: float | None = None,
    norm: Norm = "floor",
) -> Array:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalization is over the whole descriptor. With `packed`, for one stream, the symmetric
    matrix of roots is flattened by `half_vectorize` instead: inner products and norms stay the
    same. `root` with `slope_eps`, and `norm`, are the forms of `signed_sqrt` and `l2_normalize`.
    Half-precision dtypes are upcast to float32 once at the start and rounded once at the end.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        packed: whether to return the upper triangle of one stream, as `half_vectorize` does.
            Default False.
        root: form of `signed_sqrt`. Default ``"signed"``.
        slope_eps: published slope of `signed_sqrt`; None is the derivative. Default None.
        norm: form of `l2_normalize`. Default ``"floor"``.

    Returns:
        Descriptors (N, C·D), or (N, C(C+1)/2) if packed, in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D), or (N, C(C+1)/2) if packed.

    Gradient:
        That of the steps, by the chain rule. With `packed`, only the upper triangle is read, so
        the gradient is ``(Γ + Γᵀ) x / Z`` with an upper triangular Γ. Values and slopes at 0 are
        those of the steps.

    Raises:
        ValueError and TypeError as the steps do, and ValueError for y with `packed`.

    Example:
        >>> bilinear_pool(np.ones((2, 49, 8))).shape
        (2, 64)

    References:
        Lin, RoyChowdhury, Maji, ICCV 2015, section 3 (equations 1 and 2, then 3.1).
    """
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(spec(x), spec(y), spec(mask), options)
    return round_to(_bilinear_pool(upcast(x), upcast(y), mask, options), x)


def bilinear_pool_vjp(
    cotangent: Array,
    x: Array,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
    root: Root = "signed",
    slope_eps: float | None = None,
    norm: Norm = "floor",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, bilinear_pool(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(spec(x), spec(y), spec(mask), options)
    gradients = _bilinear_pool_vjp(upcast(cotangent), upcast(x), upcast(y), mask, options)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _bilinear_pool(x, y, mask, options):
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    s = _signed_sqrt(_outer_pool(x, y, mask, reduction), eps, root, slope_eps)
    return _l2_normalize(_flatten(s, packed), l2_eps, norm)


def _bilinear_pool_vjp(ct, x, y, mask, options):
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    g = _outer_pool(x, y, mask, reduction)
    s = _signed_sqrt(g, eps, root, slope_eps)
    ct = _l2_normalize_vjp(ct, _flatten(s, packed), l2_eps, norm)
    ct = _half_vectorize_vjp(ct, s, True) if packed else ct.reshape(g.shape)
    ct = _signed_sqrt_vjp(ct, g, eps, root, slope_eps)
    return _outer_pool_vjp(ct, x, y, mask, reduction)


def _flatten(s, packed):
    if packed:
        return _half_vectorize(s, True)
    return s.reshape(s.shape[0], s.shape[1] * s.shape[2])  # explicit sizes: N may be 0
