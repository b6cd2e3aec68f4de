"""The functions of `test_low_rank_layers` for JAX."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import bilinear.jax as namespace

from ._jax_layers import descriptor_and_gradients, in_dtype


def weights(layer):
    state = nnx.to_flat_state(nnx.state(layer, nnx.Param))
    return {path[0]: np.asarray(variable[...]) for path, variable in state}


def apply_layer(name, made_of, maps):
    return np.asarray(getattr(namespace, name)(**made_of)(*map(jnp.asarray, maps)))


def apply_copies(name, made_of, maps):
    """Return the results of copies and compiled versions of a layer."""
    layer, maps = getattr(namespace, name)(**made_of), [jnp.asarray(m) for m in maps]
    twin = getattr(namespace, name)(**made_of | {"seed": 7})
    nnx.update(twin, nnx.state(layer))
    hash(nnx.graphdef(layer))  # required by nnx.jit and nnx.cond
    ways = {
        "eager": layer,
        "copy.deepcopy": copy.deepcopy(layer),
        "pickle": pickle.loads(pickle.dumps(layer)),
        "update": twin,
        "split and merge": nnx.merge(*nnx.split(layer)),
        "nnx.jit": lambda *m: nnx.jit(lambda pool, *m: pool(*m))(layer, *m),
    }
    stacked = jax.vmap(lambda *m: layer(*(one[None] for one in m))[0])(*maps)
    return {way: np.asarray(one(*maps)) for way, one in ways.items()} | {"vmap": stacked}


def project(x, cotangent, made_of, mask=None):
    """Return the value and the gradients of feature map and weight."""
    layer = in_dtype(namespace.Projection(**made_of), x.dtype)
    run = nnx.jit(descriptor_and_gradients)
    given = {} if mask is None else {"mask": jnp.asarray(mask)}
    value, (dx, dw) = run(layer, given, [jnp.asarray(x)], jnp.asarray(cotangent))
    return {"channels_last": tuple(map(np.asarray, (value, dx, dw)))}
