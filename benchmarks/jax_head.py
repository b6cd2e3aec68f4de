"""Pooling and classifier in JAX. Compiled steps donate the classifier."""

import importlib

import jax
import jax.numpy as jnp

from .calls import Size
from .head import LEARNING_RATE, MOMENTUM, make_head
from .jax import COMPILED, EAGER, OURS
from .jax_formulas import FORMULAS

namespace = importlib.import_module("bilinear.jax")


def steps(size: Size, device: str) -> dict:
    """Name -> a training step that waits for its result and returns the loss."""
    del device  # JAX uses every GPU that it finds; for the CPU, the command hides them
    pool, formula = namespace.BilinearPool(packed=True), FORMULAS["bilinear_pool"]

    def by_scores(x, kernel, bias):
        return namespace.bilinear_scores(x, kernel.T, bias, packed=True)

    def published(x, kernel, bias):
        return formula(x) @ kernel + bias

    return {
        OURS: _step(lambda x, kernel, bias: pool(x) @ kernel + bias, size, packed=True),
        EAGER: _step(published, size, packed=False, compiled=False),
        COMPILED: _step(published, size, packed=False),
        "bilinear_scores, jit": _step(by_scores, size, packed=True),
    }


def scores(size: Size, device: str) -> dict:
    """Name -> scores without gradient."""
    del device
    head = make_head(size, packed=False)
    arrays = [jnp.asarray(a) for a in (head.x, *head[2:])]
    formula = FORMULAS["bilinear_scores"]
    calls = {
        OURS: jax.jit(namespace.bilinear_scores),
        EAGER: formula,
        COMPILED: jax.jit(formula),
    }
    return {name: lambda f=f: jax.block_until_ready(f(*arrays)) for name, f in calls.items()}


def _step(logits, size: Size, *, packed: bool, compiled: bool = True):
    head = make_head(size, packed=packed)
    x, labels = jnp.asarray(head.x), jnp.asarray(head.labels)
    parameters = jnp.asarray(head.weight).T, jnp.asarray(head.bias)
    state = [parameters, jax.tree.map(jnp.zeros_like, parameters)]

    def loss(x, parameters):
        log_probabilities = jax.nn.log_softmax(logits(x, *parameters))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()

    def step(x, parameters, momenta):
        value, (dx, gradients) = jax.value_and_grad(loss, (0, 1))(x, parameters)
        momenta = jax.tree.map(lambda m, g: MOMENTUM * m + g, momenta, gradients)
        parameters = jax.tree.map(lambda p, m: p - LEARNING_RATE * m, parameters, momenta)
        return value, dx, parameters, momenta

    run = jax.jit(step, donate_argnums=(1, 2)) if compiled else step

    def call():
        value, dx, *state[:] = run(x, *state)
        jax.block_until_ready((dx, *state))
        return value

    return call
