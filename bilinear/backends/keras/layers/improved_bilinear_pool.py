"""Bilinear pooling with a matrix square root as a Keras layer."""

from typing import Any

import keras

from ....contract import EPS, L2_EPS, Reduction, Root
from ....contract.layer_arguments import ImprovedBilinearPoolArguments
from ....contract.matrices import STEPS, Method, Normalize
from .. import operators
from ._feature_map_layer import Pool, flatten


@keras.saving.register_keras_serializable(package="bilinear")
class ImprovedBilinearPool(ImprovedBilinearPoolArguments, Pool):
    """Bilinear pooling of a feature map with a matrix root before the element-wise root.

    ``l2_normalize(signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))``, where the matrix root is
    ``covariance_sqrt(x, center=False)``. Specification: `bilinear.reference.covariance_sqrt`. Cost:
    time N·(L·C² + about 3·steps·S³) with S = min(L, C), or C if a spatial size is unknown while a
    function is traced; see `covariance_sqrt`.

    Args:
        method: "newton_schulz" (default) iterates, "eigen" decomposes.
        steps: number of Newton-Schulz steps, from 1 to 1000, default 5.
        normalize: scale of the iteration, "trace" or "frobenius" (default).
        tol: for "eigen", in [0, 1): eigenvalues up to this fraction of the largest count as 0;
            None (default) is C times the unit roundoff.
        reduction: "mean" (default) over the valid locations, or "sum".
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        root: "signed" (default), or the published variants "shifted" and "unsigned".
        l2_eps: lower bound of the norm, a normal positive number, default 1e-12.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C), in channels_first (N, C, *spatial) -> (N, C²).
    References: Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017.
    """

    class_name = "ImprovedBilinearPool"

    def __init__(
        self,
        method: Method = "newton_schulz",
        *,
        steps: int = STEPS,
        normalize: Normalize = "frobenius",
        tol: float | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        root: Root = "signed",
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        ops = operators()
        options = self.method, self.steps, self.normalize, self.tol
        g = ops.covariance_sqrt_unchecked(x, mask, False, self.reduction, *options)
        return self.root_and_norm(flatten(g), x)
