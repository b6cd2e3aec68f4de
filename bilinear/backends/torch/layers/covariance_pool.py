"""The root of the pooled covariance as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream, packed_size
from ..covariance_pool import covaried
from ..half_vectorize import halved
from ..matrix_sqrt import matrix_rooted
from ._maps import flattened


class CovariancePool(nn.Module):
    """The covariance of feature maps and its root: `half_vectorize` of `matrix_sqrt` of
    `covariance_pool` of their locations, of one stream.

    ``pool(x, mask=None)``; ``mask`` is boolean at the resolution of the maps, True where a
    location is kept. There is no root of entries and no normalisation of the descriptor.

    Shapes: x (N, C, *spatial), mask (N, *spatial) -> (N, C(C+1)/2), for any number of spatial
        axes of any size, in any memory format.
    Cost: time N·(L·C² + some 3·steps·C³); output N·C(C+1)/2.
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_root` when made and
        `bilinear.contract.check_operands`, with the shapes as they were passed, when called.
    Source: Li, Xie, Wang, Zuo, ICCV 2017 (``method="eigen"``); Li, Xie, Wang, Gao, CVPR 2018.
    """

    def __init__(
        self,
        method: Method = "newton_schulz",
        steps: int = STEPS,
        normalize: Normalize = "trace",
        tol: float | None = None,
        isometric: bool = False,
    ) -> None:
        super().__init__()
        op = "CovariancePool"
        check_arguments(op, locals())
        self.method: Method = method
        self.steps = steps
        self.normalize: Normalize = normalize
        self.tol = tol
        self.isometric = isometric

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, _, mask = flattened("CovariancePool", x, None, mask)
        c = covaried(x, None, mask)
        root = matrix_rooted(c, self.method, self.steps, self.normalize, self.tol)
        return halved(root, self.isometric).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C(C+1)/2; of one stream, and a second is refused."""
        check_one_stream("CovariancePool", channels, channels_b)
        return packed_size(channels)

    def extra_repr(self) -> str:
        names = "method", "steps", "normalize", "tol", "isometric"
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
