"""`CovariancePool`: the root of the pooled covariance as a layer. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract.matrices import STEPS, Method, Normalize
from .._arrays import ArrayLike, round_to
from ..covariance_sqrt import covariance_sqrt_unchecked
from ..half_vectorize import half_vectorize_unchecked
from ._layer import StaticPool


@jax.tree_util.register_static
@dataclass(frozen=True)
class CovariancePool(StaticPool):
    """Covariance pooling: ``half_vectorize(covariance_sqrt(x))`` of one stream.

    There is no element-wise root and no normalization. A static value like `BilinearPool`.

    Args:
        method: ``"newton_schulz"`` (default) or ``"eigen"``, as in `matrix_sqrt`.
        steps: of Newton–Schulz, from 1 to 1000. Default 5.
        normalize: ``"trace"`` (default) or ``"frobenius"``, of Newton–Schulz.
        tol: of ``"eigen"``, eigenvalues up to this fraction of the largest count as 0;
            None (default) is C times the unit roundoff.
        isometric: multiply entries above the diagonal by √2. Default False, as published.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, C(C+1)/2).
    Cost: time N·(L·C² + about 3·steps·S³) with S = min(L, C), see `covariance_sqrt`.
    References: Li, Xie, Wang, Zuo, ICCV 2017 (``"eigen"``); Li, Xie, Wang, Gao, CVPR 2018.
    """

    class_name = "CovariancePool"
    method: Method = "newton_schulz"
    _: KW_ONLY
    steps: int = STEPS
    normalize: Normalize = "trace"
    tol: float | None = None
    isometric: bool = False

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        x, _, mask = self.to_locations(x, None, mask)
        options = self.method, self.steps, self.normalize, self.tol
        root = covariance_sqrt_unchecked(x, mask, True, "mean", *options)
        return round_to(x, half_vectorize_unchecked(root, self.isometric))
