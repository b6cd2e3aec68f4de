"""Layers with weights or tables in Flax, and plain functions: gradients, copies and updates."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import bilinear.jax as namespace

from ..tolerances import RECOMPUTED


def descriptor_and_gradients(pool, masks, maps, cotangent):
    """Return the descriptors, and gradients of the maps and of the weights in order of names."""
    graph, learned, rest = nnx.split(pool, nnx.Param, ...) if _has_state(pool) else (pool, {}, {})

    def run(learned, *maps):
        module = nnx.merge(graph, learned, rest) if _has_state(pool) else pool
        return module(*maps, **masks)

    result, pull = jax.vjp(run, learned, *maps)
    of_learned, *of_maps = pull(cotangent)
    by_name = sorted(nnx.to_flat_state(of_learned)) if _has_state(pool) else []
    return result, [*of_maps, *(variable[...] for _, variable in by_name)]


def _has_state(pool):
    return isinstance(pool, nnx.Module)


def in_dtype(pool, dtype):
    """Cast the weights of a layer to `dtype`."""
    if _has_state(pool):
        learned = nnx.state(pool, nnx.Param)
        nnx.update(pool, jax.tree.map(lambda leaf: leaf.astype(dtype), learned))
    return pool


def weights(layer):
    state = nnx.to_flat_state(nnx.state(layer, nnx.Param))
    return {path[0]: np.asarray(variable[...]) for path, variable in state}


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


def check_tables(method):
    pool = namespace.CompactBilinearPool(5, 4096, method=method, seed=1)
    x = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    expected, names = pool(x), set(pool.tables._fields) - {"dim"}
    assert set(nnx.to_pure_dict(nnx.state(pool))) == names
    assert not jax.tree.leaves(nnx.state(pool, nnx.Param))
    hash(nnx.graphdef(namespace.CompactBilinearPool([5, 3], 8, method=method)))
    other = namespace.CompactBilinearPool(5, 4096, method=method, seed=None)
    nnx.update(other, nnx.state(pool))
    merged = nnx.merge(*nnx.split(pool))
    for twin in (other, merged, copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        np.testing.assert_array_equal(twin(x), expected)
    compiled = nnx.jit(lambda pool, x: pool(x))(pool, x)
    np.testing.assert_allclose(compiled, expected, **RECOMPUTED)
    assert "seed=1" in repr(pool)


def check_constants(method):
    pool = namespace.CompactBilinearPool(16, 4096, method=method, seed=1)
    state = average = averaged = nnx.state(pool)
    for _ in range(50):
        averaged = jax.tree.map(lambda a, v: 0.9999 * a + 0.0001 * v, average, state)
        average = jax.tree.map(lambda a, v: a.astype(v.dtype), averaged, state)
    cast = jax.tree.map(lambda v: v.astype(jnp.bfloat16), state)
    for changed in (averaged, average, cast):
        other = namespace.CompactBilinearPool(16, 4096, method=method, seed=2)
        nnx.update(other, changed)
        for found, table in zip(other.tables, pool.tables, strict=True):
            np.testing.assert_array_equal(found, table)
