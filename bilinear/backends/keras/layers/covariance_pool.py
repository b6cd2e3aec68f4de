"""The matrix square root of the pooled covariance as a Keras layer."""

from typing import Any

import keras

from ....contract.matrices import STEPS, Method, Normalize
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class CovariancePool(Pool):
    """Square root of the covariance of a feature map, as its upper triangle.

    ``half_vectorize(matrix_sqrt(covariance_pool(x)))``, without element-wise root and norm.
    Specification: `bilinear.reference.covariance_pool` and `bilinear.reference.matrix_sqrt`. Cost:
    time N·(L·C² + about 3·steps·C³).

    Args:
        method: "newton_schulz" (default) iterates, "eigen" decomposes.
        steps: number of Newton-Schulz steps, from 1 to 1000, default 5.
        normalize: scale of the iteration, "trace" (default) or "frobenius".
        tol: for "eigen", in [0, 1): eigenvalues up to this fraction of the largest count as 0;
            None (default) is C times the unit roundoff.
        isometric: multiply the entries above the diagonal by √2. Default False, as published.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C), in channels_first (N, C, *spatial) -> (N, C(C+1)/2).
    References: Li, Xie, Wang, Zuo, ICCV 2017 ("eigen"); Li, Xie, Wang, Gao, CVPR 2018.
    """

    class_name = "CovariancePool"

    def __init__(
        self,
        method: Method = "newton_schulz",
        *,
        steps: int = STEPS,
        normalize: Normalize = "trace",
        tol: float | None = None,
        isometric: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        ops = operators()
        covariance = ops.covariance_pool_unchecked(x, None, mask)
        root = (self.method, self.steps, self.normalize, self.tol)
        c = ops.matrix_sqrt_unchecked(covariance, *root)
        return keras.ops.cast(ops.half_vectorize_unchecked(c, self.isometric), x.dtype)
