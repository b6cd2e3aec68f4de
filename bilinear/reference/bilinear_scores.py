"""The scores of a linear classifier on the bilinear descriptor."""

from ..contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ..contract.pooling import check_bilinear_scores
from ._arrays import Array, round_to, spec, upcast
from .bilinear_pool import _bilinear_pool, _bilinear_pool_vjp


def bilinear_scores(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
) -> Array:
    """Linear scores of the bilinear descriptor: ``bilinear_pool(x, y) Wᵀ + b``.

    ``scores = (W z) / max(‖z‖, l2_eps) + b``, where z is the root of the pooled matrix, flattened
    row-major or packed as in `bilinear_pool`. The division follows the sums over entries, so an
    implementation can process some rows of the matrix at a time. Half-precision dtypes are upcast
    to float32 once at the start and rounded once at the end; the descriptor is not rounded.

    Args:
        x: features of the first stream, (N, L, C).
        weight: (K, C·D), or (K, C(C+1)/2) if packed.
        bias: (K,), or None. Default None.
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        packed: whether `weight` is for packed descriptors of one stream. Default False.

    Returns:
        Scores (N, K) in the dtype of x.

    Shape:
        x (N, L, C), weight (K, C·D), or (K, C(C+1)/2) if packed, bias (K,), y (N, L, D), mask (N,
        L) boolean -> (N, K).

    Gradient:
        For the cotangent γ (N, K), ``∂W = γᵀ u`` with the descriptors u, and ``∂b = Σ_n γ``. ∂x
        and ∂y are those of `bilinear_pool` for the cotangent ``γ W``.
        The scores of a zero descriptor are b. The other singular points are those of
        `bilinear_pool`.

    Raises:
        ValueError and TypeError as `bilinear_pool`; ValueError for a weight or a bias that does
        not fit, TypeError for one of another dtype.

    Example:
        >>> bilinear_scores(np.ones((2, 49, 8)), np.ones((5, 64))).shape
        (2, 5)

    References:
        Lin, RoyChowdhury, Maji, ICCV 2015, section 3: a linear classifier on the descriptor.
    """
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(spec(x), spec(weight), spec(bias), spec(y), spec(mask), options)
    arrays = upcast(x), upcast(weight), upcast(bias), upcast(y)
    return round_to(_bilinear_scores(*arrays, mask, options), x)


def bilinear_scores_vjp(
    cotangent: Array,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, bilinear_scores(…)⟩``: ∂x, ∂weight, then ∂bias and ∂y if given."""
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(spec(x), spec(weight), spec(bias), spec(y), spec(mask), options)
    arrays = upcast(x), upcast(weight), upcast(bias), upcast(y)
    gradients = _bilinear_scores_vjp(upcast(cotangent), *arrays, mask, options)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _bilinear_scores(x, weight, bias, y, mask, options):
    scores = _bilinear_pool(x, y, mask, options) @ weight.T
    return scores if bias is None else scores + bias


def _bilinear_scores_vjp(ct, x, weight, bias, y, mask, options):
    dx, *dy = _bilinear_pool_vjp(ct @ weight, x, y, mask, options)
    dweight = ct.T @ _bilinear_pool(x, y, mask, options)
    return dx, dweight, *([] if bias is None else [ct.sum(axis=0)]), *dy
