"""`ImprovedBilinearPool`: bilinear pooling with a matrix root as a layer. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS, Reduction, Root, check_root_and_norm
from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream
from .._arrays import ArrayLike, flatten_matrices, round_to
from ..l2_normalize import l2_normalize_unchecked
from ..matrix_sqrt import matrix_sqrt_unchecked
from ..outer_pool import outer_pool_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ._feature_maps import to_locations


@jax.tree_util.register_static
@dataclass(frozen=True)
class ImprovedBilinearPool:
    """Bilinear pooling of one stream with a matrix root before the element-wise root:
    ``l2_normalize(signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))``.

    A static value like `BilinearPool`.

    Args:
        method: ``"newton_schulz"`` or ``"eigen"``, as in `matrix_sqrt`.
        steps: of Newton–Schulz, at least 1.
        normalize: ``"trace"`` or ``"frobenius"``, of Newton–Schulz.
        tol: of ``"eigen"``, eigenvalues up to this fraction of the largest count as 0;
            None is C times the unit roundoff.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the signed square root, at least 0.
        root: ``"signed"``, ``"shifted"`` or ``"unsigned"``, as in `signed_sqrt`.
        l2_eps: positive; lower bound of the norm.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, C²). Only locations where the mask
        is True are pooled.
    Cost: time N·(L·C² + about 3·steps·C³).
    References: Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017.
    """

    method: Method = "newton_schulz"
    _: KW_ONLY
    steps: int = STEPS
    normalize: Normalize = "frobenius"
    tol: float | None = None
    reduction: Reduction = "mean"
    eps: float = EPS
    root: Root = "signed"
    l2_eps: float = L2_EPS

    def __post_init__(self) -> None:
        check_arguments("ImprovedBilinearPool", vars(self))

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        op = "ImprovedBilinearPool"
        x, _, mask, (of_x, _) = to_locations(op, x, None, mask)
        check_root_and_norm(op, of_x.dtype, self.eps, self.l2_eps)
        g = outer_pool_unchecked(x, None, mask, self.reduction)
        g = matrix_sqrt_unchecked(g, self.method, self.steps, self.normalize, self.tol)
        s = signed_sqrt_unchecked(flatten_matrices(g), self.eps, self.root)
        return round_to(x, l2_normalize_unchecked(s, self.l2_eps))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C²; ValueError for two streams."""
        check_one_stream("ImprovedBilinearPool", channels, channels_b)
        return channels * channels
