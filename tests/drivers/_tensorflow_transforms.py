"""The transforms of TensorFlow: tables of its driver. Sources and tangents are lists."""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from ..tolerances import COARSE_DIFFERENCES


def vjp(function, arguments, cotangent):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        result = function(*arguments)
    return tape.gradient(result, arguments, cotangent, unconnected_gradients="zero")


def _reverse_over_reverse(function, arguments, tangents, cotangent):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        gradients = vjp(function, arguments, cotangent)
    return tape.gradient(gradients, arguments, tangents, unconnected_gradients="zero")


def _forward_over_reverse(function, arguments, tangents, cotangent):
    with tf.autodiff.ForwardAccumulator(arguments, tangents) as accumulator:
        gradients = vjp(function, arguments, cotangent)
    return [accumulator.jvp(g, tf.UnconnectedGradients.ZERO) for g in gradients]


def _reverse_over_forward(function, arguments, tangents, cotangent):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        result = _forward(function, arguments, tangents)
    return tape.gradient(result, arguments, cotangent, unconnected_gradients="zero")


def _hessian(function, arguments, tangents, cotangent):
    """Compute the Hessian by `tape.jacobian` of the gradient."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arguments)
        gradients = vjp(function, arguments, cotangent)
    rows = [tape.jacobian(g, arguments, unconnected_gradients="zero") for g in gradients]
    return [
        sum(tf.tensordot(b, v, v.ndim) for b, v in zip(row, tangents, strict=True)) for row in rows
    ]


def _forward(function, arguments, tangents):
    with tf.autodiff.ForwardAccumulator(arguments, tangents) as accumulator:
        result = function(*arguments)
    return accumulator.jvp(result, tf.UnconnectedGradients.ZERO)


def _double_tape(function, arguments, tangents):
    """J v by differentiating the gradient, which is linear in its cotangent."""
    dummy = tf.zeros_like(function(*arguments))
    with tf.GradientTape() as tape:
        tape.watch(dummy)
        gradients = vjp(function, arguments, dummy)
    return tape.gradient(gradients, dummy, tangents)


def _traced(transform):
    """Run a transform inside a tf.function."""
    return lambda function, *groups: tf.function(lambda *g: transform(function, *g))(*groups)


def _outside(transform):
    """Apply a transform to a tf.function."""
    return lambda function, *groups: transform(tf.function(function), *groups)


def _vectorized(function, arguments):
    return tf.vectorized_map(lambda a: function(*a), tuple(arguments))


def _nested(function, arguments):
    inner = lambda *a: _vectorized(function, a)  # noqa: E731
    return _vectorized(inner, [a[None] for a in arguments])[0]


@contextlib.contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _unknown(function, *, known_rank=True, **options):
    """Trace `function` without sizes, and without ranks if `known_rank` is False."""

    def call(*arguments):
        shapes = [[None] * a.ndim if known_rank else None for a in arguments]
        signature = [tf.TensorSpec(s, a.dtype) for s, a in zip(shapes, arguments, strict=True)]

        @tf.function(input_signature=signature, **options)
        def traced(*operands):
            return function(*operands)

        return traced(*arguments)

    return call


JVPS = {
    "ForwardAccumulator": _forward,
    "double tape": _double_tape,
    "ForwardAccumulator in tf.function": _traced(_forward),
    "ForwardAccumulator over tf.function": _outside(_forward),
    "double tape in tf.function": _traced(_double_tape),
}
HVPS = {
    "nested tapes": _reverse_over_reverse,
    "forward over reverse": _forward_over_reverse,
    "reverse over forward": _reverse_over_forward,
    "tape.jacobian": _hessian,
    "nested tapes in tf.function": _traced(_reverse_over_reverse),
    "nested tapes over tf.function": _outside(_reverse_over_reverse),
    "forward over reverse in tf.function": _traced(_forward_over_reverse),
}
VMAPS = {
    "vectorized_map": _vectorized,
    "nested vectorized_map": _nested,
    "vectorized_map in tf.function": _traced(_vectorized),
}
GLOBAL_SETTINGS = {
    "mixed_float16": functools.partial(_policy, "mixed_float16"),
    "mixed_bfloat16": functools.partial(_policy, "mixed_bfloat16"),
    "float64": functools.partial(_policy, "float64"),
}
WRAPPERS = {
    "recompute_grad": tf.recompute_grad,
    "tf.function, sizes unknown": _unknown,
    "tf.function, ranks unknown": functools.partial(_unknown, known_rank=False),
    "XLA, sizes unknown": functools.partial(_unknown, jit_compile=True),
    "recompute_grad in tf.function": lambda f: _unknown(tf.recompute_grad(f)),
    "keras.layers.Lambda": lambda f: (
        lambda *a: keras.layers.Lambda(lambda inputs: f(*inputs), dtype="float64")(list(a))
    ),
}


def _compute_gradient(function, arguments):
    for analytic, numeric in zip(*tf.test.compute_gradient(function, list(arguments)), strict=True):
        np.testing.assert_allclose(analytic, numeric, atol=COARSE_DIFFERENCES)
    return arguments[0]


def _compute_second_gradient(function, arguments):
    """Check the gradient of each argument's gradient by nested tapes."""
    for i, argument in enumerate(arguments):

        def gradient(a, *, i=i):
            with tf.GradientTape() as tape:
                tape.watch(a)
                result = function(*arguments[:i], a, *arguments[i + 1 :])
            return tape.gradient(result, a)

        _compute_gradient(gradient, [argument])
    return arguments[0]


CHECKS = {"compute_gradient": _compute_gradient, "of the gradient": _compute_second_gradient}
