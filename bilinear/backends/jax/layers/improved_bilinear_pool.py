"""`ImprovedBilinearPool`: bilinear pooling with a matrix root as a layer. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS, Reduction, Root
from ....contract.matrices import STEPS, Method, Normalize
from .._arrays import ArrayLike, flatten_matrices
from ..covariance_sqrt import covariance_sqrt_unchecked
from ._layer import StaticPool


@jax.tree_util.register_static
@dataclass(frozen=True)
class ImprovedBilinearPool(StaticPool):
    """Bilinear pooling of one stream with a matrix root before the element-wise root:
    ``l2_normalize(signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))``.

    The matrix root is ``covariance_sqrt(x, center=False)``. A static value like `BilinearPool`.

    Args:
        method: ``"newton_schulz"`` (default) or ``"eigen"``, as in `matrix_sqrt`.
        steps: of Newton–Schulz, from 1 to 1000. Default 5.
        normalize: ``"trace"`` or ``"frobenius"`` (default), of Newton–Schulz.
        tol: of ``"eigen"``, eigenvalues up to this fraction of the largest count as 0;
            None (default) is C times the unit roundoff.
        reduction: ``"mean"`` (default) over the valid locations, or ``"sum"``.
        eps: added inside the signed square root, at least 0. Default 1e-10.
        root: ``"signed"`` (default), ``"shifted"`` or ``"unsigned"``, as in `signed_sqrt`.
        l2_eps: positive; lower bound of the norm. Default 1e-12.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, C²).
    Cost: time N·(L·C² + about 3·steps·S³) with S = min(L, C), see `covariance_sqrt`.
    References: Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017.
    """

    class_name = "ImprovedBilinearPool"
    method: Method = "newton_schulz"
    _: KW_ONLY
    steps: int = STEPS
    normalize: Normalize = "frobenius"
    tol: float | None = None
    reduction: Reduction = "mean"
    eps: float = EPS
    root: Root = "signed"
    l2_eps: float = L2_EPS

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        x, _, mask = self.to_locations(x, None, mask)
        options = self.method, self.steps, self.normalize, self.tol
        g = covariance_sqrt_unchecked(x, mask, False, self.reduction, *options)
        return self.root_and_norm(flatten_matrices(g), x)
