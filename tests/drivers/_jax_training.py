"""SGD of a Flax B-CNN with optax."""

import functools

import jax.numpy as jnp
import optax
from flax import nnx


@functools.cache
def _rule(momentum, weight_decay):
    """Return SGD with the learning rate in its state, so that a new one needs no compilation."""
    sgd = optax.inject_hyperparams(optax.sgd, static_args=("momentum", "nesterov"))
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        sgd(learning_rate=0.0, momentum=momentum or None),
    )


@nnx.jit
def step(model, optimizer, images, labels):
    def loss(model):
        logits = model(images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    optimizer.update(model, nnx.grad(loss)(model))


def optimizer(model, momentum, weight_decay):
    return nnx.Optimizer(model, _rule(momentum, weight_decay), wrt=nnx.Param)


def set_rate(optimizer, lr):
    rate = optimizer.opt_state[1].hyperparams["learning_rate"]
    rate[...] = jnp.asarray(lr, rate[...].dtype)


def trace(model, optimizer):
    """Return the momentum variables by canonical name."""
    state = optimizer.opt_state[1].inner_state[0].trace
    return variables(model, state)


def variables(model, state):
    """Return the variables of a state with the structure of the parameters, by canonical name."""
    graphdef, _, rest = nnx.split(model, nnx.Param, ...)
    named = nnx.merge(graphdef, state, rest).canonical()
    return {k: v for k, v in named.items() if not isinstance(v, nnx.BatchStat)}
