"""Bilinear pooling with a matrix root as a layer. No parameters, no state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ....contract import EPS, L2_EPS, Reduction, Root, check_root_and_norm
from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream
from .._arrays import ArrayLike, spec
from ..l2_normalize import normalized
from ..matrix_sqrt import matrix_rooted
from ..outer_pool import pooled
from ..signed_sqrt import rooted
from ._maps import flattened


@jax.tree_util.register_static
@dataclass(frozen=True)
class ImprovedBilinearPool:
    """Bilinear pooling with a matrix root before the root of entries: ``l2_normalize(
    signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))`` of the locations of maps, of one stream.

    ``pool(x, mask=None)``; ``mask`` is boolean at the resolution of the maps, True where a
    location is kept. `root` is the form of `signed_sqrt`.

    A frozen value without leaves, as `BilinearPool`.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, C²), for any number of spatial axes of
        any size.
    Cost: time N·(L·C² + some 3·steps·C³); output N·C².
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_root` and
        `check_improved` there when made, and `bilinear.contract.check_operands`, with the shapes
        as they were passed, when called.
    Source: Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017.
    """

    method: Method = "newton_schulz"
    steps: int = STEPS
    normalize: Normalize = "frobenius"
    tol: float | None = None
    reduction: Reduction = "mean"
    eps: float = EPS
    root: Root = "signed"
    l2_eps: float = L2_EPS

    def __post_init__(self) -> None:
        op = "ImprovedBilinearPool"
        check_arguments(op, vars(self))

    def __call__(self, x: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        op = "ImprovedBilinearPool"
        x, _, mask = flattened(op, x, None, mask)
        check_root_and_norm(op, spec(op, "x", x).dtype, self.eps, self.l2_eps)
        g = pooled(x, None, mask, self.reduction)
        g = matrix_rooted(g, self.method, self.steps, self.normalize, self.tol)
        flat = g.reshape(g.shape[0], g.shape[1] * g.shape[2])  # explicit sizes: N may be 0
        descriptor = normalized(rooted(flat, self.eps, self.root), self.l2_eps)
        return descriptor.astype(jnp.asarray(x).dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C²; of one stream, and a second is refused."""
        check_one_stream("ImprovedBilinearPool", channels, channels_b)
        return channels * channels
