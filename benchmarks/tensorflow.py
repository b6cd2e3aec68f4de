"""TensorFlow: the published formula eager, in a tf.function, under XLA, and ours in both."""

import functools
import importlib
import statistics

import tensorflow as tf

from .calls import ELEMENTWISE, Size, drawn
from .measure import apart, give_back, resident
from .tensorflow_formulas import FORMULAS

door = importlib.import_module("bilinear.tensorflow")
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
    del device  # TensorFlow takes a GPU it finds: where a CPU is meant the command hides it
    call = drawn(op, size)
    arrays = [tf.cast(a, dtype) for a in call.arrays]
    cotangent = tf.cast(call.cotangent, dtype)
    given = [cotangent, *arrays] if gradient else arrays

    def passes(f):
        return _both(f) if gradient else f

    if not call.product:  # what is read and written
        floor, of = tf.function(lambda *a: tf.add_n(a) + 1), given
    else:
        floor, of = tf.function(_products), [cotangent if gradient else None, *arrays]

    weights = [tf.cast(w, dtype) for w in call.weights]
    own = lambda *a: getattr(door, op)(*a, **call.options)  # noqa: E731
    if call.layer is not None:
        own = getattr(door, op)(**call.layer, dtype=dtype)
    # options are closed over: given to a tf.function they would become tensors
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
    return {k: lambda f=f, a=a: _waited(f(*a)) for k, (f, a) in calls.items()}


PASSES = 6
"""Of which a tape is kept each, to see how much further ones take."""


def held(op: str, size: Size, dtype: str, own: bool, *, graph: bool | None = None) -> int:
    """Bytes of the inputs, and by which a process of its own grows for each tape that is kept.

    Of ours in a tf.function and of the formula eager, as their rows are, unless `graph` says. A
    tape does not tell what it holds, but the process does, to a few pages for each array.
    """
    graph = own if graph is None else graph
    return apart(_held_here, op, size, dtype, own, graph, first=give_back)


def _held_here(op: str, size: Size, dtype: str, own: bool, graph: bool) -> int:
    call = drawn(op, size)
    arrays = [tf.cast(a, dtype) for a in call.arrays]
    of = getattr(door, op) if own else FORMULAS[op]
    f = functools.partial(of, **call.options)
    f = tf.function(f) if graph else f
    kept, grown = [], []
    for _ in range(PASSES):
        before = resident()
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            end = _end(f(*arrays))
        kept.append((tape, end))
        grown.append(resident() - before)
    inputs = sum(a.shape.num_elements() * a.dtype.size for a in arrays)
    return inputs + round(statistics.median(grown))


@tf.custom_gradient
def _end(result):
    """Nothing, but a tape forgets what led to a result that is gone, unless something follows."""
    return tf.zeros([]), lambda _: None


def threads(count: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def gpu() -> str | None:
    for found in tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_device_details(found).get("device_name", found.name)
    return None


def _waited(result):
    for tensor in tf.nest.flatten(result):
        tensor[..., :1].numpy()
    return result
