"""`bilinear_pool` as one function that holds little between the passes.

With ``u = s / n`` the descriptor of a sample, ``s`` its signed root and ``n`` the floored norm, all
that a derivative needs can be computed from the output: ``|s| = n |u|``. Along a tangent dP of the
product ``P = xᵀ y = Z G``,

    t = dP / (2 n Z |s|), but 0·dP where u = 0
    du = t − u ⟨u, t⟩, dn = n ⟨u, t⟩, but t and 0 at or below the floor

For one stream ``dP = A + Aᵀ`` with ``A = xᵀ dx``, so the transpose of this map is one product,
``x (h + hᵀ)``. In a packed descriptor ``|s|`` is w times the root, and an entry of dP counts w²
times: with w = √2 above the diagonal and 1 on it, t is ``A + Aᵀ`` above the diagonal and A on it,
times ``1 / (n Z |s|)``. The transpose of that sum writes h to both sides of the diagonal.

Only the tangent map is written here. The reverse mode transposes it and holds its arguments: the
inputs, u (in float32 for half-precision dtypes) and n. The tangent map gets u and n from the
function that it differentiates, so it can be differentiated again, to any order.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ._arrays import flatten_matrices, select_streams
from ._products import einsum_of_inputs, einsum_with_input
from .half_vectorize import pack_triangles, scale_off_diagonal, upper_triangle
from .signed_sqrt import signed_sqrt_unchecked

ROWS = 256
"""Rows of each block of a packed product; smaller blocks multiply less but take no less time."""

OF_FIRST, OF_SECOND = "nlc,nld->ncd", "nld,nlc->ncd"
"""Products of the tangent of the first or second stream with the other stream."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5, 6))
def fused_bilinear(x, y, mask, z, eps, l2_eps, packed) -> tuple[jax.Array, jax.Array]:
    """Descriptors u (N, C·D) and norms n (N, 1) in the accumulation dtype, for z (1, 1) or (N, 1).

    If `packed`, u is (N, C(C+1)/2), of one stream. Locations are selected and upcast in here, so
    that x and y are held in the dtype they have.
    """
    p = _packed_product(x, mask) if packed else flatten_matrices(_forward_product(x, y, mask))
    s = signed_sqrt_unchecked(p / z, eps)
    s = scale_off_diagonal(s, x.shape[2]) if packed else s
    norm = jnp.sqrt(_sum(s * s))
    n = jnp.where(_is_short(norm, l2_eps), float(l2_eps), norm)
    return s / n, n


@functools.partial(fused_bilinear.defjvp, symbolic_zeros=True)
def _jvp(eps, l2_eps, packed, primals, tangents):
    u, n = fused_bilinear(*primals, eps, l2_eps, packed)
    dx, dy = (None if isinstance(d, SymbolicZero) else d for d in tangents[:2])
    # checkpoint: hold the arguments and compute the slope again. Without its barrier the compiler
    # may reuse what the forward pass has computed.
    tangent = jax.checkpoint(functools.partial(_tangent, l2_eps, packed), prevent_cse=False)
    return (u, n), tangent(*primals, u, n, dx, dy)


def _tangent(l2_eps, packed, x, y, mask, z, u, n, dx, dy):
    root = jnp.where(u == 0, jnp.inf, n * jnp.abs(u))  # finite / inf is 0, but NaN / inf is NaN
    scale = 0.5 / z / n
    if packed:
        # The sum of two triangles: reversed, it repeats the quotient, which XLA therefore computes
        # first. Fused into the gather, the quotient would be computed twice, and slowly.
        a = jnp.sum(pack_triangles(_tangent_product(OF_SECOND, dx, x, mask), 2), axis=1)
        du = 2 * scale * (a / root)
        along = _sum(u * du)
    elif y is None:  # u is symmetric: A is scaled before it is added to Aᵀ
        a = scale * (flatten_matrices(_tangent_product(OF_SECOND, dx, x, mask)) / root)
        matrix = a.reshape(a.shape[0], x.shape[2], x.shape[2])
        du, along = (matrix + matrix.mT).reshape(a.shape), 2 * _sum(u * a)
    else:
        products = [] if dx is None else [_tangent_product(OF_FIRST, dx, y, mask)]
        products += [] if dy is None else [_tangent_product(OF_SECOND, dy, x, mask)]
        du = scale * (flatten_matrices(functools.reduce(jnp.add, products)) / root)
        along = _sum(u * du)
    along = jnp.where(_is_short(n, l2_eps), 0.0, along)
    return du - u * along, n * along


def _forward_product(x: jax.Array, y: jax.Array | None, mask: jax.Array | None) -> jax.Array:
    """``xᵀ y`` of the inputs."""
    return einsum_of_inputs("nlc,nld->ncd", *select_streams(x, y, mask), x.dtype)


def _packed_product(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``xᵀ x`` on and above the diagonal; little more than that is multiplied."""
    blocks = [
        upper_triangle(_forward_product(x[:, :, start : start + ROWS], x[:, :, start:], mask))
        for start in range(0, x.shape[2], ROWS)
    ]
    return jnp.concatenate(blocks, axis=1)


def _tangent_product(rule: str, tangent, other, mask: jax.Array | None) -> jax.Array:
    """``dxᵀ y`` or ``xᵀ dy`` of a tangent and the other stream."""
    return einsum_with_input(rule, *select_streams(tangent, other, mask), other.dtype)


def _sum(a: jax.Array) -> jax.Array:
    return jnp.sum(a, axis=-1, keepdims=True)


def _is_short(n: jax.Array, l2_eps: float) -> jax.Array:
    return n <= float(l2_eps)  # a NumPy eps would make float32 float64
