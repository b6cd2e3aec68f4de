"""The root of the pooled covariance as a layer. No parameters, no state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream, packed_size
from .._arrays import ArrayLike
from ..covariance_pool import covaried
from ..half_vectorize import halved
from ..matrix_sqrt import matrix_rooted
from ._maps import flattened


@jax.tree_util.register_static
@dataclass(frozen=True)
class CovariancePool:
    """The covariance of feature maps and its root: `half_vectorize` of `matrix_sqrt` of
    `covariance_pool` of their locations, of one stream.

    ``pool(x, mask=None)``; ``mask`` is boolean at the resolution of the maps, True where a
    location is kept. There is no root of entries and no normalisation of the descriptor.

    A frozen value without leaves, as `BilinearPool`.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, C(C+1)/2), for any number of spatial
        axes of any size.
    Cost: time N·(L·C² + some 3·steps·C³); output N·C(C+1)/2.
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_root` when made and
        `bilinear.contract.check_operands`, with the shapes as they were passed, when called.
    Source: Li, Xie, Wang, Zuo, ICCV 2017 (``method="eigen"``); Li, Xie, Wang, Gao, CVPR 2018.
    """

    method: Method = "newton_schulz"
    steps: int = STEPS
    normalize: Normalize = "trace"
    tol: float | None = None
    isometric: bool = False

    def __post_init__(self) -> None:
        op = "CovariancePool"
        check_arguments(op, vars(self))

    def __call__(self, x: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        x, _, mask = flattened("CovariancePool", x, None, mask)
        c = covaried(x, None, mask)
        root = matrix_rooted(c, self.method, self.steps, self.normalize, self.tol)
        return halved(root, self.isometric).astype(jnp.asarray(x).dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C(C+1)/2; of one stream, and a second is refused."""
        check_one_stream("CovariancePool", channels, channels_b)
        return packed_size(channels)
