"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

import jax
import jax.numpy as jnp

from ...contract import ACCUMULATION, EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.pooling import check_bilinear_pool
from ._arrays import ArrayLike, specs
from ._fused import fused
from .half_vectorize import upper, weighed
from .l2_normalize import normalized
from .outer_pool import counted, pooled
from .signed_sqrt import rooted


def bilinear_pool(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
    root: Root = "signed",
    slope_eps: float | None = None,
    norm: Norm = "floor",
) -> jax.Array:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor. With `packed`, for one stream, the symmetric matrix
    of roots is flattened by `half_vectorize` instead: inner products and norms stay the same.
    `root` with `slope_eps`, and `norm`, are the forms of `signed_sqrt` and `l2_normalize`.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D), or (N, C(C+1)/2)
        if packed.
    Gradient, edges: those of the steps, in that order; with `packed`, that of the formula which
        reads the upper triangle. Half types are widened to float32 once at the start and
        rounded once at the end.
    Cost: time N·L·C·D, output N·C·D, or half of it. Between the passes the inputs and the output
        are held, with another form some multiple of the output.
        In the default form, under jit, a forward pass takes at most 2 times the bytes of input
        and output, both passes 3.5 times those of input, output and their cotangents; 3.25 and
        3.75 times with `packed`. Half types count as float32, in which they are computed, and with
        them it is 2.5 and 4 times, 3.25 and 4.5 with `packed`.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_bilinear_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(*specs("bilinear_pool", x, y, mask), options)
    return described(x, y, mask, options)


def described(
    x: ArrayLike,
    y: ArrayLike | None,
    mask: ArrayLike | None,
    options: DescriptorOptions,
) -> jax.Array:
    """The unchecked formula, rounded back to the dtype of `x`."""
    first, kept = jnp.asarray(x), None if mask is None else jnp.asarray(mask)
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    if not options.is_standard:
        g = pooled(first, y, kept, reduction)
        n, c, d = g.shape
        s = rooted(upper(g) if packed else g.reshape(n, c * d), eps, root, slope_eps)
        s = weighed(s, c) if packed else s
        return normalized(s, l2_eps, norm).astype(first.dtype)
    second = None if y is None else jnp.asarray(y)
    dtype = ACCUMULATION[first.dtype.name]
    z = counted(first, kept, dtype) if reduction == "mean" else jnp.ones((1, 1), dtype)
    u, _ = fused(first, second, kept, z, eps, l2_eps, packed)
    return u.astype(first.dtype)
