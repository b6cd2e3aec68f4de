"""TensorFlow: ours and the published formula, eager, in a tf.function and under XLA."""

import functools
import importlib
import statistics

import tensorflow as tf

from .calls import ELEMENTWISE, Size, make_call
from .measure import in_new_process, resident, return_freed_memory
from .tensorflow_formulas import FORMULAS

namespace = importlib.import_module("bilinear.tensorflow")
VERSION = f"tensorflow {tf.__version__}"
OURS, EAGER, COMPILED, FLOOR = "ours", "formula", "formula, compiled", "floor"
BEST = {
    OURS: ("ours, tf.function", "ours, XLA"),
    COMPILED: ("formula, tf.function", "formula, XLA"),
}


def _both(f):
    def run(cotangent, *arrays):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            result = f(*arrays)
        return tape.gradient(result, arrays, cotangent)

    return run


def _products(cotangent, *arrays):
    x, y = arrays[0], arrays[-1]
    results = [tf.matmul(x, y, transpose_a=True)]
    if cotangent is not None:
        g = tf.reshape(cotangent, results[0].shape)
        results.append(tf.matmul(y, g, transpose_b=True))
        results += [tf.matmul(x, g)] if len(arrays) == 2 else []
    return results


def runs(op: str, size: Size, dtype: str, gradient: bool, device: str) -> dict:
    """Name -> a call that waits for its result."""
    del device  # TensorFlow uses every GPU that it finds; for the CPU, the command hides them
    call = make_call(op, size)
    arrays = [tf.cast(a, dtype) for a in call.arrays]
    cotangent = tf.cast(call.cotangent, dtype)
    given = [cotangent, *arrays] if gradient else arrays

    def passes(f):
        return _both(f) if gradient else f

    if not call.product:  # one read and one write
        floor, of = tf.function(lambda *a: tf.add_n(a) + 1), given
    else:
        floor, of = tf.function(_products), [cotangent if gradient else None, *arrays]

    weights = [tf.cast(w, dtype) for w in call.weights]
    own = lambda *a: getattr(namespace, op)(*a, **call.options)  # noqa: E731
    if call.layer is not None:
        own = getattr(namespace, op)(**call.layer, dtype=dtype)
    # options are captured, because arguments of a tf.function would become tensors
    ours, formula = passes(own), passes(lambda *a: FORMULAS[op](*a, *weights, **call.options))
    calls = {
        "ours, tf.function": (tf.function(ours), given),
        "ours, XLA": (tf.function(ours, jit_compile=True), given),
        EAGER: (formula, given),
        "formula, tf.function": (tf.function(formula), given),
        "formula, XLA": (tf.function(formula, jit_compile=True), given),
    }
    if call.product or op in ELEMENTWISE:
        calls[FLOOR] = (floor, of)
    return {k: lambda f=f, a=a: _wait(f(*a)) for k, (f, a) in calls.items()}


PASSES = 6
"""Number of passes whose tapes are kept, to measure the memory of each."""


def bytes_held(op: str, size: Size, dtype: str, own: bool, *, graph: bool | None = None) -> int:
    """Bytes of the inputs, plus the growth of a new process for each tape that is kept.

    TensorFlow does not report what a tape holds. The growth of the process is exact up to a few
    pages for each array. By default, ours runs in a tf.function and the formula eagerly.
    """
    graph = own if graph is None else graph
    return in_new_process(_held_here, op, size, dtype, own, graph, first=return_freed_memory)


def _held_here(op: str, size: Size, dtype: str, own: bool, graph: bool) -> int:
    call = make_call(op, size)
    arrays = [tf.cast(a, dtype) for a in call.arrays]
    of = getattr(namespace, op) if own else FORMULAS[op]
    f = functools.partial(of, **call.options)
    f = tf.function(f) if graph else f
    tapes, growth = [], []
    for _ in range(PASSES):
        before = resident()
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            end = _end(f(*arrays))
        tapes.append((tape, end))
        growth.append(resident() - before)
    inputs = sum(a.shape.num_elements() * a.dtype.size for a in arrays)
    return inputs + round(statistics.median(growth))


@tf.custom_gradient
def _end(result):
    """Return an empty tensor, so that the tape keeps the operations that led to `result`."""
    return tf.zeros([]), lambda _: None


def threads(count: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def gpu() -> str | None:
    for found in tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_device_details(found).get("device_name", found.name)
    return None


def _wait(result):
    for tensor in tf.nest.flatten(result):
        tensor[..., :1].numpy()
    return result
