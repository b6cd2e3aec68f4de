"""Pooling and classifier in TensorFlow, eager, in a tf.function and under XLA."""

import importlib

import tensorflow as tf

from .calls import Size
from .head import LEARNING_RATE, MOMENTUM, make_head
from .tensorflow import EAGER, _wait
from .tensorflow_formulas import FORMULAS

namespace = importlib.import_module("bilinear.tensorflow")


def steps(size: Size, device: str) -> dict:
    """Name -> a training step that waits for its result and returns the loss."""
    del device  # TensorFlow uses every GPU that it finds; for the CPU, the command hides them
    pool, formula = namespace.BilinearPool(packed=True), FORMULAS["bilinear_pool"]

    def ours(x, kernel, bias):
        return tf.matmul(pool(x), kernel) + bias

    def published(x, kernel, bias):
        return tf.matmul(formula(x), kernel) + bias

    def by_scores(x, kernel, bias):
        return namespace.bilinear_scores(x, tf.transpose(kernel), bias, packed=True)

    calls = {EAGER: _step(published, size, packed=False)}
    for name, logits in (("ours", ours), ("formula", published), ("bilinear_scores", by_scores)):
        packed = name != "formula"
        for compiler, xla in (("tf.function", False), ("XLA", True)):
            calls[f"{name}, {compiler}"] = _step(logits, size, packed=packed, xla=xla)
    return calls


def scores(size: Size, device: str) -> dict:
    """Name -> scores without gradient."""
    del device
    head = make_head(size, packed=False)
    arrays = [tf.constant(a) for a in (head.x, *head[2:])]
    formula = FORMULAS["bilinear_scores"]
    calls = {EAGER: formula}
    for name, f in (("ours", namespace.bilinear_scores), ("formula", formula)):
        calls[f"{name}, tf.function"] = tf.function(f)
        calls[f"{name}, XLA"] = tf.function(f, jit_compile=True)
    return {name: lambda f=f: _wait(f(*arrays)) for name, f in calls.items()}


def _step(logits, size: Size, *, packed: bool, xla: bool | None = None):
    """Return a training step; eager if `xla` is None."""
    head = make_head(size, packed=packed)
    x, labels = tf.constant(head.x), tf.constant(head.labels)
    parameters = [tf.Variable(tf.constant(a)) for a in (head.weight.T, head.bias)]
    momenta = [tf.Variable(tf.zeros_like(p)) for p in parameters]

    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(x, *parameters))
            loss = tf.reduce_mean(losses)
        dx, *gradients = tape.gradient(loss, [x, *parameters])
        for parameter, momentum, gradient in zip(parameters, momenta, gradients, strict=True):
            momentum.assign(MOMENTUM * momentum + tf.convert_to_tensor(gradient))
            parameter.assign_sub(LEARNING_RATE * momentum)
        return loss, dx

    run = step if xla is None else tf.function(step, jit_compile=xla)

    def call():
        loss, dx = run()
        _wait(dx)
        return loss

    return call
