"""The square root of symmetric positive semidefinite matrices."""

from typing import Any

import tensorflow as tf

from ...contract.arrays import LAYOUT_REMEDY
from ...contract.matrices import SQUARE, SQUARE_REMEDY, STEPS, Method, Normalize, check_matrix_sqrt
from ._spectral import spectral_root
from ._tensors import as_written, constant, ranked, required, shape, sizes, spec, sure, wide


@as_written
def matrix_sqrt(
    a: Any,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> tf.Tensor:
    """The root R of a symmetric positive semidefinite matrix: ``R R = a``, exactly or nearly.

    Of `a` the symmetric part S = (a + aᵀ)/2 is taken.

    ``"newton_schulz"``: from Y = S/s and Z = I, `steps` times ``T = (3I − Z Y)/2``, ``Y ← Y T``,
    ``Z ← T Z``; then √s·Y. s is the trace or the Frobenius norm.

    ``"eigen"``: ``U diag(√λ) Uᵀ``; eigenvalues of at most `tol` times the largest count as 0,
    and `tol` None is C times the unit roundoff. `steps` and `normalize` are not read, nor is
    `tol` by the other method.

    Shapes: a (N, C, C) -> the same. Anything `tf.convert_to_tensor` takes; sizes, and the rank,
        may be unknown until run time.
    Gradient: of ``"newton_schulz"`` that of the iteration as it is, s included. Of ``"eigen"`` the
        solution X of ``R X + X R = (Γ + Γᵀ)/2``, 0 between eigenvalues that count as 0; its
        derivatives are exact to the third order. Always symmetric.
    Edges: the zero matrix has root 0 and gradient 0, and so has any matrix of a trace (of
        ``"eigen"``: a largest eigenvalue) that is not positive. A NaN makes its matrix NaN, at
        least from the second step on. Half types are computed in float32.
    Cost: time N·C³, times 3·steps or some 20 for the eigenvectors; the gradient holds 4·steps or
        some 12 matrices a sample. Output N·C².
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_matrix_sqrt`; sizes
        unknown when a tf.function is traced as `outer_pool`.
    Source: Li, Xie, Wang, Gao, CVPR 2018, section 3 (trace); Lin, Maji, BMVC 2017 (Frobenius
        norm); Li, Xie, Wang, Zuo, ICCV 2017 (``"eigen"``).
    """
    a = required("matrix_sqrt", "a", a)
    check_matrix_sqrt(spec(a), method, steps, normalize, tol)
    a = _sure_matrices(a)
    return tf.cast(matrix_rooted(wide(a), method, steps, normalize, tol), a.dtype)


def matrix_rooted(
    a: tf.Tensor, method: Method, steps: int, normalize: Normalize, tol: float | None
) -> tf.Tensor:
    """The unchecked formula."""
    a = (a + tf.linalg.matrix_transpose(a)) * constant(0.5, a)
    if method == "eigen":
        return spectral_root(a, tol)
    s, dead = _scale(a, normalize)
    nothing = constant(0, a)  # a dropped iteration must not overflow: 0 · inf is NaN
    sane = tf.where(dead, nothing, a) / s
    return tf.where(dead, nothing * a, tf.sqrt(s) * _iterated(sane, steps))


def _iterated(y: tf.Tensor, steps: int) -> tf.Tensor:
    """`steps` Newton–Schulz steps; products with the first Z = I and for the last Z are spared."""
    identity = tf.eye(sizes(y)[-1], dtype=y.dtype)
    packed = constant(0.5, y)
    t = constant(1.5, y) * identity - packed * y
    y, z = tf.matmul(y, t), t
    for step in range(1, steps):
        t = constant(1.5, y) * identity - packed * tf.matmul(z, y)
        y, z = tf.matmul(y, t), tf.matmul(t, z) if step + 1 < steps else z
    return y


def _scale(a: tf.Tensor, normalize: Normalize) -> tuple[tf.Tensor, tf.Tensor]:
    """What the matrices are divided by, and where that cannot be; there it is 1.

    `where` stands before the root, so that no derivative of it is infinite.
    """
    if normalize == "trace":
        square = tf.linalg.trace(a)[:, None, None]
    else:
        square = tf.reduce_sum(a * a, [1, 2], keepdims=True)
    dead = tf.stop_gradient(square) <= constant(0, a)
    s = tf.where(dead, constant(1, a), square)
    return (s if normalize == "trace" else tf.sqrt(s)), dead


def _sure_matrices(a: tf.Tensor) -> tf.Tensor:
    """`a`, computed only after what was unknown when it was checked is sure; its rank is 3."""
    op = "matrix_sqrt"
    if a.shape.rank is None:
        right = tf.equal(tf.size(shape(a)), 3)
        a = sure(op, a, [(right, "a must be (N, C, C)", LAYOUT_REMEDY, [a])])
    if not a.shape[1:].is_fully_defined():
        at_run_time = shape(a)[-2:]
        square = tf.logical_and(at_run_time[0] > 0, tf.equal(at_run_time[0], at_run_time[-1]))
        a = sure(op, a, [(square, SQUARE, SQUARE_REMEDY, [a])])
    with tf.control_dependencies([a]):  # the rank is taken for granted only once a is sure
        return ranked(a, 3)
