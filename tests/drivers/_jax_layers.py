"""Gradients of JAX layers, which are Flax modules with weights or plain functions."""

import jax
from flax import nnx


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
