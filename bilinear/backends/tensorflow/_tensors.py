"""Conversion, static specs, run-time checks and dtypes of the operands of every operator."""

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from ... import contract
from ...contract import ACCUMULATION, Spec, arrays
from ...contract.sketches import CHANNELS, CHANNELS_REMEDY, check_entries

_Function = TypeVar("_Function", bound=Callable[..., Any])

_AT_RUN_TIME = "the shapes printed after this sentence"


def without_autograph(function: _Function) -> _Function:
    """`function` without AutoGraph: it branches on no tensor, and conversion takes a second."""
    return tf.autograph.experimental.do_not_convert(function)


def to_tensor(op: str, name: str, x: Any) -> tf.Tensor:
    """`x` as a tf.Tensor; TypeError if that is not possible."""
    try:
        return tf.convert_to_tensor(x)
    except (TypeError, ValueError):
        contract.check_tensor(op, name, x, tf.Tensor, "tf.Tensor")
        raise


def to_tensors(op: str, x: Any, y: Any, mask: Any) -> tuple[tf.Tensor, Any, Any]:
    """Operands of a pooling operator as tensors; `y` and `mask` may be None."""
    y = None if y is None else to_tensor(op, "y", y)
    mask = None if mask is None else to_tensor(op, "mask", mask)
    return to_tensor(op, "x", x), y, mask


def spec(x: Any) -> Any:
    """Static shape and dtype name of a tensor or a Keras tensor; None stays None."""
    if x is None:
        return None
    static = tf.TensorShape(x.shape)
    return Spec(None if static.rank is None else tuple(static), tf.as_dtype(x.dtype).name)


def upcast(x: tf.Tensor) -> tf.Tensor:
    """`x` in its accumulation dtype."""
    return tf.cast(x, ACCUMULATION[x.dtype.name])


def constant(value: float, like: tf.Tensor) -> tf.Tensor:
    """`value` as a tensor in the dtype of `like`."""
    return tf.constant(float(value), like.dtype)


def without_tape(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The same tensors, such that an eager tape holds nothing that is computed from them.

    A graph holds only what is needed. There the tensors stay connected, because
    `tf.vectorized_map` drops custom gradients and uses those of the individual steps.
    """
    return tuple(map(tf.stop_gradient, tensors)) if tf.executing_eagerly() else tensors


def shape(x: tf.Tensor) -> tf.Tensor:
    """Sizes of `x` at run time.

    In a `tf.function`, nested ForwardAccumulators fail at operations without a gradient, such as
    this one and comparisons, unless the gradient is stopped before them.
    """
    return tf.shape(tf.stop_gradient(x))


def sizes(x: tf.Tensor) -> list[Any]:
    """Sizes of `x`: Python integers where known, else scalar tensors."""
    at_run_time = shape(x)
    return [at_run_time[i] if size is None else size for i, size in enumerate(x.shape)]


# --- run-time checks of sizes that were unknown when the contract was checked ---


def ensure(op: str, x: tf.Tensor, claims: list[tuple[Any, str, str, list[tf.Tensor]]]) -> tf.Tensor:
    """`x`, computed only after every claim (condition, invariant, remedy, tensors) was checked.

    XLA ignores an Assert and multiplies matrices of unequal L without an error (TensorFlow 2.21).
    It does not ignore an impossible reshape, so under XLA a false claim is a compilation error
    without our message.
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


def ensure_operand_sizes(
    op: str, x: tf.Tensor, y: Any = None, *masks: Any, channels_first: bool = False
) -> tf.Tensor:
    """`x`, computed only after the sizes unknown to `contract.check_operands` were checked."""
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
        if mask is not None and not _known(mask.shape, x.shape[:1], x.shape[spatial]):
            places = tf.concat([shape(x)[:1], shape(x)[spatial]], 0)
            fits = _equal(shape(mask), places)
            claims.append((fits, arrays.MASK_SHAPE, arrays.MASK_SHAPE_REMEDY, [mask, x]))
    return ensure(op, x, claims)


def ensure_locations(op: str, x: tf.Tensor, y: Any, mask: Any) -> tuple[tf.Tensor, Any, Any]:
    """Operands of an operator on (N, L, C), after all run-time checks and with known ranks."""
    claims = [
        (tf.equal(tf.size(shape(t)), 3), f"{name} must be (N, L, C)", arrays.LAYOUT_REMEDY, [t])
        for name, t in (("x", x), ("y", y))
        if t is not None and t.shape.rank is None
    ]
    x = ensure_operand_sizes(op, ensure(op, x, claims), y, mask)
    with tf.control_dependencies([x]):  # the ranks may be used only after this check
        return set_rank(x, 3), set_rank(y, 3), set_rank(mask, 2)


def operands(
    op: str, x: Any, y: Any, mask: Any, check: Callable[..., None], *options: Any
) -> tuple[tf.Tensor, Any, Any]:
    """Operands of an operator on (N, L, C) as tensors, after its check and all run-time checks."""
    x, y, mask = to_tensors(op, x, y, mask)
    check(spec(x), spec(y), spec(mask), *options)
    return ensure_locations(op, x, y, mask)


def ensure_table_sizes(op: str, x: tf.Tensor, y: Any, tables: Any) -> tf.Tensor:
    """`x`, computed only after unknown numbers of channels were checked against the tables."""
    check_entries(op, tables)
    first, second = tables[0], tables[2 if len(tables) > 2 else 1]
    claims = [
        (tf.equal(shape(t)[2], tf.shape(table)[0]), CHANNELS, CHANNELS_REMEDY, [t, table])
        for t, table in ((x, first), (x if y is None else y, second))
        if t.shape[2] is None
    ]
    return ensure(op, x, claims)


def set_rank(x: Any, rank: int) -> Any:
    """`x` with a known rank; a reshape, because `tf.ensure_shape` breaks ForwardAccumulator."""
    if x is None or x.shape.rank is not None:
        return x
    at_run_time = shape(x)
    return tf.reshape(x, [at_run_time[i] for i in range(rank)])


def _known(*shapes: tf.TensorShape) -> bool:
    return all(static.is_fully_defined() for static in shapes)


def _equal(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Whether two shapes are equal; their ranks may differ."""
    shared = tf.minimum(tf.size(a), tf.size(b))
    return tf.logical_and(
        tf.equal(tf.size(a), tf.size(b)), tf.reduce_all(tf.equal(a[:shared], b[:shared]))
    )
