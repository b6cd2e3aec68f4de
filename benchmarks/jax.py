"""JAX: ours under jit, the published formula eager and under jit, and the floor under jit."""

import functools
import importlib
import os

import jax
import jax.numpy as jnp

from .calls import ELEMENTWISE, Size, make_call
from .jax_formulas import FORMULAS

namespace = importlib.import_module("bilinear.jax")
VERSION = f"jax {jax.__version__}"
OURS, EAGER, COMPILED, FLOOR = "ours, jit", "formula", "formula, jit", "floor"
BEST = {OURS: (OURS,), COMPILED: (COMPILED,)}


def _both(f):
    return lambda cotangent, *arrays: jax.vjp(f, *arrays)[1](cotangent)


def _products(cotangent, *arrays):
    x, y = arrays[0], arrays[-1]
    results = [jnp.einsum("nlc,nld->ncd", x, y)]
    if cotangent is not None:
        g = cotangent.reshape(results[0].shape)
        results.append(jnp.einsum("nld,ncd->nlc", y, g))
        results += [jnp.einsum("nlc,ncd->nld", x, g)] if len(arrays) == 2 else []
    return results


def runs(op: str, size: Size, dtype: str, gradient: bool, device: str) -> dict:
    """Name -> a call that waits for its result."""
    found = calls(op, size, dtype, gradient, device)
    return {name: lambda f=f: jax.block_until_ready(f()) for name, f in found.items()}


def calls(op: str, size: Size, dtype: str, gradient: bool, device: str) -> dict:
    """Name -> a call, as a `functools.partial`, that returns the result or the gradients."""
    del device  # JAX uses every GPU that it finds; for the CPU, the command hides them
    call = make_call(op, size)
    arrays = [jnp.asarray(a, dtype) for a in call.arrays]
    cotangent = jnp.asarray(call.cotangent, dtype)
    given = [cotangent, *arrays] if gradient else arrays

    def passes(f):
        f = f if call.projection is None else projected(f)
        return _both(f) if gradient else f

    def projected(f):
        weight = jnp.asarray(call.projection, dtype)
        return lambda *maps: f(*(m @ weight for m in maps))

    if not call.product:  # one read and one write
        floor, of = jax.jit(lambda *a: sum(a) + 1), given
    else:
        floor, of = jax.jit(_products), [cotangent if gradient else None, *arrays]
    weights = [jnp.asarray(w, dtype) for w in call.weights]
    own = functools.partial(getattr(namespace, op), **call.options)
    if call.layer is not None:
        own = getattr(namespace, op)(**call.layer).__call__
    ours = passes(own)
    formula = passes(lambda *a: FORMULAS[op](*a, *weights, **call.options))
    found = {
        OURS: functools.partial(jax.jit(ours), *given),
        EAGER: functools.partial(formula, *given),
        COMPILED: functools.partial(jax.jit(formula), *given),
    }
    if call.product or op in ELEMENTWISE:
        found[FLOOR] = functools.partial(floor, *of)
    return found


def bytes_held(op: str, size: Size, dtype: str, own: bool) -> int:
    """Bytes of the distinct arrays in the pullback, including the inputs."""
    call = make_call(op, size)
    arrays = [jnp.asarray(a, dtype) for a in call.arrays]
    f = functools.partial(getattr(namespace, op) if own else FORMULAS[op], **call.options)
    _, pull = jax.jit(lambda *a: jax.vjp(f, *a))(*arrays)
    return sum(leaf.nbytes for leaf in {id(a): a for a in jax.tree.leaves(pull)}.values())


def threads(count: int) -> None:
    """Restrict this process to `count` cores, because XLA has no setting for threads.

    Call before the first array is created, which starts the threads of XLA.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def gpu() -> str | None:
    return next((d.device_kind for d in jax.devices() if d.platform == "gpu"), None)
