"""The root of the pooled covariance as a `torch.nn` module."""

from torch import Tensor

from ....contract.layer_arguments import CovariancePoolArguments
from ....contract.matrices import STEPS, Method, Normalize
from ..covariance_sqrt import covariance_sqrt_unchecked
from ..half_vectorize import half_vectorize_unchecked
from ._feature_map_layer import DataFormat, Pool


class CovariancePool(CovariancePoolArguments, Pool):
    """Matrix square root of the covariance of a feature map (MPN-COV, iSQRT-COV).

    ``half_vectorize(covariance_sqrt(x))``, without element-wise root and without normalization.

    Args:
        method: ``"newton_schulz"`` or ``"eigen"``, see `matrix_sqrt`. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: what the iteration divides by, ``"trace"`` (default) or ``"frobenius"``.
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.
        isometric: whether entries above the diagonal are multiplied by √2. Default False.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), mask (N, *spatial) -> (N, C(C+1)/2).
    Cost: time N·(L·C² + about 3·steps·S³) with S = min(L, C), see `covariance_sqrt`.

    Example:
        >>> CovariancePool()(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 2080])

    References: Li, Xie, Wang, Zuo, ICCV 2017 (``method="eigen"``); Li, Xie, Wang, Gao, CVPR 2018.
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
        data_format: DataFormat = "channels_first",
    ) -> None:
        super().__init__(locals())

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x, _, mask = self.to_locations(x, None, mask)
        options = self.method, self.steps, self.normalize, self.tol
        root = covariance_sqrt_unchecked(x, mask, True, "mean", *options)
        return half_vectorize_unchecked(root, self.isometric).to(x.dtype)
