"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

import jax
import jax.numpy as jnp

from ...contract import ACCUMULATION, EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.options import is_standard
from ...contract.pooling import check_bilinear_pool
from ._arrays import ArrayLike, count_locations, flatten_matrices, specs
from ._fused_bilinear import fused_bilinear
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import l2_normalize_unchecked
from .outer_pool import outer_pool_unchecked
from .signed_sqrt import signed_sqrt_unchecked


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
    """Compute the bilinear descriptor: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the root, at least 0.
        l2_eps: positive; `eps` of `l2_normalize`.
        packed: return the upper triangle, off-diagonal entries times √2; for one stream.
        root: form of `signed_sqrt`.
        slope_eps: as in `signed_sqrt`.
        norm: form of `l2_normalize`.

    Returns: Array (N, C·D), row-major; or (N, C(C+1)/2) if packed.
    Cost: time N·L·C·D. The inputs and the output are saved for the backward pass; with another
        `root` or `norm`, or a `slope_eps`, a multiple of the output. Under jit, the forward pass
        needs at most 2 times (packed: 3.25) the bytes of inputs and output, and both passes 3.5
        (3.75) times those of inputs, output and their cotangents, for half precision, counted as
        float32, 2.5 (3.25) and 4 (4.5) times.
    Specification: `bilinear.reference.bilinear_pool`.
    """
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(*specs("bilinear_pool", x, y, mask), options)
    return bilinear_pool_unchecked(x, y, mask, options)


def bilinear_pool_unchecked(
    x: ArrayLike, y: ArrayLike | None, mask: ArrayLike | None, options: DescriptorOptions
) -> jax.Array:
    x, y = jnp.asarray(x), None if y is None else jnp.asarray(y)
    mask = None if mask is None else jnp.asarray(mask)
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    if not is_standard(options):
        g = outer_pool_unchecked(x, y, mask, reduction)
        s = upper_triangle(g) if packed else flatten_matrices(g)
        s = signed_sqrt_unchecked(s, eps, root, slope_eps)
        s = scale_off_diagonal(s, x.shape[2]) if packed else s
        return l2_normalize_unchecked(s, l2_eps, norm).astype(x.dtype)
    dtype = ACCUMULATION[x.dtype.name]
    z = count_locations(x, mask, dtype) if reduction == "mean" else jnp.ones((1, 1), dtype)
    u, _ = fused_bilinear(x, y, mask, z, eps, l2_eps, packed)
    return u.astype(x.dtype)
