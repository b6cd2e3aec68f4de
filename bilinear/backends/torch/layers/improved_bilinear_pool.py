"""Bilinear pooling with a matrix root as a `torch.nn` module."""

from torch import Tensor

from ....contract import EPS, L2_EPS, Reduction, Root
from ....contract.layer_arguments import ImprovedBilinearPoolArguments
from ....contract.matrices import STEPS, Method, Normalize
from ..covariance_sqrt import covariance_sqrt_unchecked
from ._feature_map_layer import DataFormat, NormalizedPool


class ImprovedBilinearPool(ImprovedBilinearPoolArguments, NormalizedPool):
    """Bilinear pooling with a matrix square root before the element-wise square root.

    ``l2_normalize(signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))``, for one stream. The matrix
    root is ``covariance_sqrt(x, center=False)``.

    Args:
        method: ``"newton_schulz"`` or ``"eigen"``, see `matrix_sqrt`. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: what the iteration divides by, ``"trace"`` or ``"frobenius"`` (default).
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        root: ``"signed"`` (default), ``"shifted"`` or ``"unsigned"``, see `signed_sqrt`.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), mask (N, *spatial) -> (N, C²).
    Cost: time N·(L·C² + about 3·steps·S³) with S = min(L, C), see `covariance_sqrt`.

    Example:
        >>> ImprovedBilinearPool()(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 4096])

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
        data_format: DataFormat = "channels_first",
    ) -> None:
        super().__init__(locals())

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x, _, mask = self.to_locations(x, None, mask, options=self.eps_options)
        options = self.method, self.steps, self.normalize, self.tol
        g = covariance_sqrt_unchecked(x, mask, False, self.reduction, *options)
        return self.root_and_norm(g.flatten(1), self.root).to(x.dtype)
