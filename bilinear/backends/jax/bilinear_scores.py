"""The scores of a linear classifier on the bilinear descriptor, which is never held."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores
from ..row_blocks import entries, row_blocks
from ._arrays import ArrayLike, spec, specs, wide
from .outer_pool import counted, keep
from .signed_sqrt import rooted


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
    """Linear scores of the bilinear descriptor: ``bilinear_pool(x, y) Wᵀ + b``.

    With s the roots of the pooled matrix, flattened row-major or halved as in `bilinear_pool`,
    ``scores = (W s) / max(‖s‖, l2_eps) + b``. Both sums are taken some rows of the matrix at a
    time, and the norm divides the scores. Of a trained `BCNN` with a `BilinearPool`, weight and
    bias are ``model.classifier.kernel[...].T`` and ``model.classifier.bias[...]``.

    Shapes: x (N, L, C), weight (K, C·D), or (K, C(C+1)/2) if packed, bias (K,), y (N, L, D),
        mask (N, L) boolean -> (N, K). C and D are numbers when traced; N may be symbolic.
    Gradient: for the cotangent γ, ``∂W = γᵀ u`` with u the descriptors, ``∂b = Σ_n γ``, and that of
        `bilinear_pool` for the cotangent ``γ W``; the roots are computed again.
    Edges: those of `bilinear_pool`; a descriptor of 0 scores b. Half types are widened to float32
        once at the start and rounded once at the end.
    Cost: time N·C·D·(L + K), the gradient thrice that. Memory without gradient about
        (2K + 4N)·C·D / 8 beside the inputs, with it their gradients too, that of the weight twice
        or more; between the passes the inputs are held.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_bilinear_scores`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3: a linear classifier on the descriptor.
    """
    op = "bilinear_scores"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    of_bias = None if bias is None else spec(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(of_x, spec(op, "weight", weight), of_bias, of_y, of_mask, options)
    return scored(x, weight, bias, y, mask, options).astype(jnp.asarray(x).dtype)


def scored(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    y: ArrayLike | None,
    mask: ArrayLike | None,
    options: DescriptorOptions,
) -> jax.Array:
    """The unchecked formula, in the accumulation dtype."""
    reduction, eps, l2_eps, packed = options[:4]
    chosen = None if mask is None else jnp.asarray(mask)
    x_kept, w = keep(wide(jnp.asarray(x)), chosen), wide(jnp.asarray(weight))
    y_kept = x_kept if y is None else keep(wide(jnp.asarray(y)), chosen)
    z = counted(x_kept, chosen, x_kept.dtype)[:, :, None] if reduction == "mean" else 1.0
    products, square = _compiled(x_kept, y_kept, w, z, float(eps), packed)
    scores = products / _length(square, l2_eps)
    return scores if bias is None else scores + wide(jnp.asarray(bias))[None]


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _sums(
    x: jax.Array, y: jax.Array, w: jax.Array, z: jax.Array | float, eps: float, packed: bool
) -> tuple[jax.Array, jax.Array]:
    """``W s`` (N, K) and ``‖s‖²`` (N, 1), some rows of the matrix at a time.

    In a loop: of steps that follow one another XLA would copy all blocks of the weight first.
    """
    parts = [
        functools.partial(_part, eps=eps, rows=rows, packed=packed)
        for rows in row_blocks(x.shape[2])
    ]

    def with_block(i, sums):
        return jax.tree.map(jnp.add, sums, jax.lax.switch(i, parts, x, y, w, z))

    none = jnp.zeros((x.shape[0], w.shape[0]), x.dtype), jnp.zeros((x.shape[0], 1), x.dtype)
    return jax.lax.fori_loop(0, len(parts), with_block, none)


@functools.partial(_sums.defjvp, symbolic_zeros=True)
def _jvp(eps, packed, primals, tangents):
    """Block after block: a loop, reversed, would add a whole weight's gradient in every round."""
    given = [not isinstance(t, SymbolicZero) for t in tangents]
    moved = [t for t, is_given in zip(tangents, given, strict=True) if is_given]
    added = []
    for rows in row_blocks(primals[0].shape[2]):
        part = functools.partial(_part, eps=eps, rows=rows, packed=packed)
        # checkpoint: hold the arguments, compute the roots again
        added.append(jax.checkpoint(functools.partial(_tangent, part, given))(primals, moved))
    return _sums(*primals, eps, packed), jax.tree.map(lambda *terms: sum(terms), *added)


_compiled = jax.jit(_sums, static_argnums=(4, 5))  # once, not every step of an eager call


def _tangent(part, given, primals, moved):
    """Of `part`, along tangents of those arguments that have one."""

    def of_moved(*arguments):
        left = iter(arguments)
        return part(*(next(left) if g else p for p, g in zip(primals, given, strict=True)))

    return jax.jvp(of_moved, [p for p, g in zip(primals, given, strict=True) if g], moved)[1]


def _part(x, y, w, z, *, eps: float, rows: slice, packed: bool) -> tuple[jax.Array, jax.Array]:
    """What some rows add to both sums; of a half, only the columns from the first row on."""
    # HIGHEST: a GPU's or TPU's default would round float32 products to fewer digits
    highest = jax.lax.Precision.HIGHEST
    of_rows = w[:, entries(rows, y.shape[2], packed)]
    x, y = x[:, :, rows], y[:, :, rows.start :] if packed else y
    s = rooted(jnp.einsum("nlc,nld->ncd", x, y, precision=highest) / z, eps)
    s = _trapezoid(s) if packed else s.reshape(s.shape[0], s.shape[1] * s.shape[2])
    return jnp.einsum("nf,kf->nk", s, of_rows, precision=highest), jnp.sum(s * s, 1, keepdims=True)


def _trapezoid(m: jax.Array) -> jax.Array:
    """What of rows is on and right of the diagonal, where it begins with them; right of it √2."""
    samples, rows, columns = m.shape
    row, column = np.triu_indices(rows, 0, columns)
    flat = m.reshape(samples, rows * columns)  # explicit sizes: N may be 0
    pairs = row * columns + column
    s = jnp.take(flat, pairs, axis=1, unique_indices=True, indices_are_sorted=True)
    return s * np.where(row == column, 1, 2**0.5).astype(s.dtype)[None]


def _length(square: jax.Array, eps: float) -> jax.Array:
    """The root of the square of a norm, not below `eps`.

    The root is taken of a value that is never 0, so that no derivative of the branch which
    `where` drops is infinite. NaN is not <= eps: it stays in the norm.
    """
    short = jnp.sqrt(jax.lax.stop_gradient(square)) <= float(eps)  # a NumPy eps would widen
    return jnp.where(short, float(eps), jnp.sqrt(jnp.where(short, 1.0, square)))
