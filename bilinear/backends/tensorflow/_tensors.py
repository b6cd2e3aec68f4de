"""What every TensorFlow operator does around its formula: convert, describe, check, widen."""

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from ... import contract
from ...contract import ACCUMULATION, Spec, arrays

_Function = TypeVar("_Function", bound=Callable[..., Any])

_AT_RUN_TIME = "the shapes printed after this sentence"


def as_written(function: _Function) -> _Function:
    """`function`, spared AutoGraph: it branches on no tensor, and rewriting it takes a second."""
    return tf.autograph.experimental.do_not_convert(function)


def required(op: str, name: str, x: Any) -> tf.Tensor:
    """`x` as a tf.Tensor, TypeError if there is no way to make it one."""
    try:
        return tf.convert_to_tensor(x)
    except (TypeError, ValueError):
        contract.check_tensor(op, name, x, tf.Tensor, "tf.Tensor")
        raise


def operands(op: str, x: Any, y: Any, mask: Any) -> tuple[tf.Tensor, Any, Any]:
    """The tensors of a pooling operator; only `y` and `mask` may be None."""
    y = None if y is None else required(op, "y", y)
    mask = None if mask is None else required(op, "mask", mask)
    return required(op, "x", x), y, mask


def spec(x: Any) -> Any:
    """The contract's view of a tensor (or of Keras' symbolic one); None stays None."""
    if x is None:
        return None
    static = tf.TensorShape(x.shape)
    return Spec(None if static.rank is None else tuple(static), tf.as_dtype(x.dtype).name)


def wide(x: tf.Tensor) -> tf.Tensor:
    """`x` in the dtype its sums, roots and norms are computed in."""
    return tf.cast(x, ACCUMULATION[x.dtype.name])


def constant(value: float, like: tf.Tensor) -> tf.Tensor:
    """`value` in the dtype of `like`, whatever number type the caller passed."""
    return tf.constant(float(value), like.dtype)


def shape(x: tf.Tensor) -> tf.Tensor:
    """The sizes of `x` at run time, as a constant to every derivative.

    In a tf.function TensorFlow fails to nest ForwardAccumulators over operations that have no
    gradient, such as this one and comparisons, unless the gradient is stopped before them.
    """
    return tf.shape(tf.stop_gradient(x))


def sizes(x: tf.Tensor) -> list[Any]:
    """The sizes of `x`: Python numbers where they are known, scalar tensors where not."""
    at_run_time = shape(x)
    return [at_run_time[i] if size is None else size for i, size in enumerate(x.shape)]


# --- checks at run time, of the sizes that were unknown when the contract was checked ---


def sure(op: str, x: tf.Tensor, claims: list[tuple[Any, str, str, list[tf.Tensor]]]) -> tf.Tensor:
    """`x`, computed only after every claim (condition, invariant, remedy, tensors) held.

    XLA ignores an Assert, and multiplies matrices of unequal L into some number (TensorFlow
    2.21). It does not ignore a reshape that cannot be, so there a broken claim is an error of
    the compilation, without our sentence.
    """
    if not claims:
        return x
    asserts = []
    for holds, invariant, remedy, tensors in claims:
        text = contract.message(op, invariant, _AT_RUN_TIME, remedy)
        data = [text, *(shape(t) for t in tensors)]
        asserts.append(tf.debugging.Assert(holds, data, summarize=8))
    broken = 1 - tf.cast(tf.reduce_all([holds for holds, *_ in claims]), tf.int32)
    with tf.control_dependencies(asserts):
        checked = tf.reshape(x, shape(x) + broken, name=f"{op}_needs_sizes_that_fit")
    checked.set_shape(x.shape)
    return checked


def sure_operands(
    op: str, x: tf.Tensor, y: Any = None, *masks: tf.Tensor, channels_first: bool = False
) -> tf.Tensor:
    """`x`, computed only after the sizes `contract.check_operands` could not see were checked."""
    spatial = slice(2, None) if channels_first else slice(1, -1)
    claims = []
    for t in (x,) if y is None else (x, y):
        if not t.shape[1:].is_fully_defined():
            occupied = tf.reduce_all(shape(t)[1:] > 0)
            claims.append((occupied, arrays.EMPTY, arrays.EMPTY_REMEDY, [t]))
    if y is not None:
        if not _known(x.shape[:1], y.shape[:1]):
            same = _equal(shape(x)[:1], shape(y)[:1])
            claims.append((same, arrays.SAME_BATCH, arrays.SAME_BATCH_REMEDY, [x, y]))
        if not _known(x.shape[spatial], y.shape[spatial]):
            same = _equal(shape(x)[spatial], shape(y)[spatial])
            claims.append((same, arrays.SAME_LOCATIONS, arrays.SAME_LOCATIONS_REMEDY, [x, y]))
    for mask in masks:
        if not _known(mask.shape, x.shape[:1], x.shape[spatial]):
            places = tf.concat([shape(x)[:1], shape(x)[spatial]], 0)
            fits = _equal(shape(mask), places)
            claims.append((fits, arrays.MASK_SHAPE, arrays.MASK_SHAPE_REMEDY, [mask, x]))
    return sure(op, x, claims)


def sure_locations(op: str, x: tf.Tensor, y: Any, mask: Any) -> tuple[tf.Tensor, Any, Any]:
    """The operands of an operator on (N, L, C), checked and with their ranks known."""
    claims = [
        (tf.equal(tf.size(shape(t)), 3), f"{name} must be (N, L, C)", arrays.LAYOUT_REMEDY, [t])
        for name, t in (("x", x), ("y", y))
        if t is not None and t.shape.rank is None
    ]
    x = sure_operands(op, sure(op, x, claims), y, *([] if mask is None else [mask]))
    with tf.control_dependencies([x]):  # ranks are taken for granted only once x is sure
        return ranked(x, 3), ranked(y, 3), ranked(mask, 2)


def ranked(x: Any, rank: int) -> Any:
    """`x` with its rank known. A reshape, because `tf.ensure_shape` breaks ForwardAccumulator."""
    if x is None or x.shape.rank is not None:
        return x
    at_run_time = shape(x)
    return tf.reshape(x, [at_run_time[i] for i in range(rank)])


def _known(*shapes: tf.TensorShape) -> bool:
    return all(static.is_fully_defined() for static in shapes)


def _equal(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Whether two shapes are equal, without an error where even their ranks differ."""
    shared = tf.minimum(tf.size(a), tf.size(b))
    return tf.logical_and(
        tf.equal(tf.size(a), tf.size(b)), tf.reduce_all(tf.equal(a[:shared], b[:shared]))
    )
