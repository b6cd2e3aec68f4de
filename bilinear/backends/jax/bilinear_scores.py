"""The scores of a linear classifier on the bilinear descriptor, which is never held."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores
from ..row_blocks import entries, row_blocks
from ._arrays import (
    ArrayLike,
    count_locations,
    flatten_matrices,
    round_to,
    select_streams,
    spec,
    specs,
    upcast,
)
from ._products import einsum_of_inputs, einsum_with_input
from .signed_sqrt import signed_sqrt_unchecked


def bilinear_scores(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
) -> jax.Array:
    """Linear scores of bilinear descriptors, which are not stored: ``bilinear_pool(x, y) Wᵀ + b``.

    Args:
        x: features (N, L, C); C must be known when traced, N may be symbolic.
        weight: W (K, C·D), or (K, C(C+1)/2) if packed. That of a trained `BCNN` with a
            `BilinearPool` is ``model.classifier.kernel[...].T``.
        bias: b (K,), or None for 0.
        y: features (N, L, D) of the second stream; None means y = x.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the root, at least 0.
        l2_eps: positive; lower bound of the norm.
        packed: take the descriptor of `bilinear_pool` with `packed`; for one stream.

    Returns: Array (N, K).
    Cost: time N·C·D·(L + K), and three times that for the gradient. Memory about
        (2K + 4N)·C·D / 8 besides the inputs. The gradient also needs memory for the gradients of
        the inputs, and at least two copies of that of the weight. Only the inputs are saved for
        the backward pass.
    Specification: `bilinear.reference.bilinear_scores`.
    """
    op = "bilinear_scores"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    of_bias = None if bias is None else spec(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(of_x, spec(op, "weight", weight), of_bias, of_y, of_mask, options)
    return round_to(x, bilinear_scores_unchecked(x, weight, bias, y, mask, options))


def bilinear_scores_unchecked(x, weight, bias, y, mask, options: DescriptorOptions) -> jax.Array:
    reduction, eps, l2_eps, packed = options[:4]
    dtype, (x, y) = x.dtype, select_streams(x, y, mask)
    z = count_locations(x, mask)[:, :, None] if reduction == "mean" else 1.0
    products, square = _jitted_sums(x, y, upcast(weight), z, float(eps), packed, dtype)
    scores = products / _norm(square, l2_eps)
    return scores if bias is None else scores + upcast(bias)[None]


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5, 6))
def _sums(x, y, w, z, eps, packed, dtype) -> tuple[jax.Array, jax.Array]:
    """``W s`` and ``‖s‖²`` by row blocks, in a loop: unrolled, XLA would copy all of W first."""
    blocks = [
        functools.partial(_block_sums, eps=eps, rows=rows, packed=packed, dtype=dtype)
        for rows in row_blocks(x.shape[2])
    ]

    def add_block(i, sums):
        return jax.tree.map(jnp.add, sums, jax.lax.switch(i, blocks, x, y, w, z))

    square = jnp.zeros_like(x[:, 0, :1])  # sharded like x
    start = jnp.broadcast_to(square, (x.shape[0], w.shape[0])), square
    return jax.lax.fori_loop(0, len(blocks), add_block, start)


@functools.partial(_sums.defjvp, symbolic_zeros=True)
def _sums_jvp(eps, packed, dtype, primals, tangents):
    """Block after block: a reversed loop would add the whole gradient of W in every round."""
    varies = [not isinstance(t, SymbolicZero) for t in tangents]
    varying = [t for t, is_given in zip(tangents, varies, strict=True) if is_given]
    terms = []
    for rows in row_blocks(primals[0].shape[2]):
        block = functools.partial(_block_sums, eps=eps, rows=rows, packed=packed, dtype=dtype)
        # checkpoint: hold the arguments and compute the roots again
        terms.append(jax.checkpoint(functools.partial(_tangent, block, varies))(primals, varying))
    return _sums(*primals, eps, packed, dtype), jax.tree.map(lambda *parts: sum(parts), *terms)


_jitted_sums = jax.jit(_sums, static_argnums=(4, 5, 6))  # eager loops compile at every call


def _tangent(block, varies, primals, varying):
    """Of `block`, along tangents of those arguments that have one."""

    def of_varying(*arguments):
        remaining = iter(arguments)
        return block(*(next(remaining) if v else p for p, v in zip(primals, varies, strict=True)))

    return jax.jvp(of_varying, [p for p, v in zip(primals, varies, strict=True) if v], varying)[1]


def _block_sums(x, y, w, z, *, eps, rows, packed, dtype) -> tuple[jax.Array, jax.Array]:
    """What some rows add to both sums; if packed, only the columns from the first row on."""
    of_rows = w[:, entries(rows, y.shape[2], packed)]
    x, y = x[:, :, rows], y[:, :, rows.start :] if packed else y
    g = einsum_of_inputs("nlc,nld->ncd", x, y, dtype) / z
    s = signed_sqrt_unchecked(g, eps)
    s = _packed_rows(s) if packed else flatten_matrices(s)
    scores = einsum_with_input("nf,kf->nk", s, of_rows, dtype)
    return scores, jnp.sum(s * s, 1, keepdims=True)


def _packed_rows(m: jax.Array) -> jax.Array:
    """Packed entries of some rows, whose first column is the one of their first diagonal entry."""
    _, rows, columns = m.shape
    row, column = np.triu_indices(rows, 0, columns)
    index = row * columns + column
    flat = flatten_matrices(m)
    s = flat.at[:, index].get(unique_indices=True, indices_are_sorted=True)
    return s * np.where(row == column, 1, 2**0.5).astype(s.dtype)[None]


def _norm(square: jax.Array, eps: float) -> jax.Array:
    """The root of a squared norm, at least `eps`, of a value that is never 0; NaN stays."""
    short = jnp.sqrt(jax.lax.stop_gradient(square)) <= float(eps)  # NumPy's eps would be float64
    return jnp.where(short, float(eps), jnp.sqrt(jnp.where(short, 1.0, square)))
