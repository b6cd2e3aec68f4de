"""`AveragePool`: the mean over all places. No state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ....contract.pooling import check_one_stream
from .._arrays import ArrayLike, wide
from ..outer_pool import counted, keep
from ._maps import flattened


@jax.tree_util.register_static
@dataclass(frozen=True)
class AveragePool:
    """The mean of feature maps over all places: what plain classifiers see, of one stream.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]`` over the Z locations kept: the baseline of every other
    pool. There is no root and no normalisation. Like `BilinearPool` a frozen value without leaves.

    Shapes: x (N, *spatial, C), mask (N, *spatial) boolean, True where kept, any number of
        spatial axes -> (N, C).
    Gradient, edges: those of `outer_pool` of x and ones.
    Cost: time N·L·C; output N·C.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`.
    """

    def __call__(self, x: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        flat, _, mask = flattened("AveragePool", x, None, mask)
        chosen = None if mask is None else jnp.asarray(mask)
        kept = keep(wide(jnp.asarray(flat)), chosen)
        mean = kept.sum(1) / counted(kept, chosen, kept.dtype)
        return mean.astype(jnp.asarray(x).dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C; of one stream, and a second is refused."""
        check_one_stream("AveragePool", channels, channels_b)
        return channels
