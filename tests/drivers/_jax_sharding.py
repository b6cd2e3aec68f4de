"""The layers on two CPU devices of JAX, in a mesh with explicit axes, or mapped by `shard_map`."""

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from ._jax_layers import descriptor_and_gradients, in_dtype
from .jax import namespace


def start(rank, store):
    del rank, store  # one process has all devices
    jax.config.update("jax_num_cpu_devices", 2)


def _mesh():
    return jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))


def layer(engine, name, cotangent, maps, mask, parameters):
    """Return descriptors, gradients of the maps, and gradients of the replicated weights."""
    pool = in_dtype(getattr(namespace, name)(**parameters), maps[0].dtype)
    masks, count = {} if mask is None else {"mask": mask}, len(maps)
    run = descriptor_and_gradients
    with jax.set_mesh(_mesh()):
        batch = jax.device_put((masks, list(maps), cotangent), P("data"))
        pool = jax.device_put(pool, P())
        if engine == "jax-shard_map":
            weights = nnx.state(pool, nnx.Param) if isinstance(pool, nnx.Module) else ()
            of_all = [P("data")] * count + [P()] * len(jax.tree.leaves(weights))
            of_call = P(), P("data"), P("data"), P("data")
            run = jax.shard_map(run, in_specs=of_call, out_specs=(P("data"), of_all))
        result, gradients = nnx.jit(run)(pool, *batch)
    for sharded in (result, *gradients[:count]):
        assert sharded.sharding.spec[0] == "data", f"{name}: {sharded.sharding}"
    result, *gradients = map(np.asarray, (result, *gradients))
    return result, (gradients[:count], gradients[count:])


def scores(x, weight):
    """Return `bilinear_scores` and its gradients, of one device and of two."""

    @jax.jit
    def run(x, weight):
        result, pull = jax.vjp(namespace.bilinear_scores, x, weight)
        return result, *pull(result)

    single = run(x, weight)
    with jax.set_mesh(_mesh()):
        sharded = run(jax.device_put(x, P("data")), jax.device_put(weight, P()))
    return [[np.asarray(value) for value in values] for values in (single, sharded)]


def unpooled_sketches(x):
    """Return the sketches of every location, of one device and of two."""
    tables = namespace.sketch_tables(x.shape[2], None, 8)

    @jax.jit
    def run(x):
        return namespace.tensor_sketch(x, tables=tables, reduction="none")

    single = np.asarray(run(x))
    with jax.set_mesh(_mesh()):
        return single, np.asarray(run(jax.device_put(x, P("data"))))
