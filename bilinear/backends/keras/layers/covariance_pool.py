"""The matrix square root of the pooled covariance as a Keras layer."""

from typing import Any

import keras

from ....contract.layer_arguments import CovariancePoolArguments
from ....contract.matrices import STEPS, Method, Normalize
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class CovariancePool(CovariancePoolArguments, Pool):
    """Square root of the covariance of a feature map, as its upper triangle.

    ``half_vectorize(covariance_sqrt(x))``, without element-wise root and norm. Specification:
    `bilinear.reference.covariance_sqrt`. Cost: time N·(L·C² + about 3·steps·S³) with S = min(L, C),
    or C if a spatial size is unknown while a function is traced; see `covariance_sqrt`.

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
        options = self.method, self.steps, self.normalize, self.tol
        root = ops.covariance_sqrt_unchecked(x, mask, True, "mean", *options)
        return keras.ops.cast(ops.half_vectorize_unchecked(root, self.isometric), x.dtype)
