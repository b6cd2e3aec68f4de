"""The state of a JAX B-CNN in a folder written by Orbax."""

import os
from functools import partial
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from ...contract import Spec, refuse
from .. import pools
from ..tensorfile import are_integers, check_layout, check_values, open_checkpoint, readable
from .bcnn import BCNN


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """Call ``StandardCheckpointer().save(path, nnx.state(model))``; Orbax renames the folder."""
    if os.path.lexists(path):
        remedy = "Remove it, or pass another path."
        refuse(FileExistsError, op, "the folder must be new", path, remedy)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(os.path.abspath(path), nnx.state(model))


def read_native(op: str, path: str, form: str, model: BCNN) -> BCNN:
    """Return `model` with a folder's ``nnx.state(model)`` or its pure dictionary, checked first."""
    os.listdir(path)  # the same errors for a path that cannot be opened as anywhere
    path = os.path.abspath(path)
    if not os.path.isfile(os.path.join(path, "_METADATA")):
        remedy = "Save nnx.state(model) there with an Orbax StandardCheckpointer."
        refuse(ValueError, op, "the folder must be an Orbax checkpoint", "no _METADATA", remedy)
    for folder, _, names in os.walk(path):
        for name in names:
            open_checkpoint(op, os.path.join(folder, name)).close()
    variables = {
        ".".join(map(str, keys)): node
        for keys, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Variable)
    }
    expected = {n: Spec(v[...].shape, v[...].dtype.name) for n, v in variables.items()}
    invariant = "the folder must be a checkpoint that Orbax reads"
    reading = partial(readable, op, invariant, "It is damaged.")
    with reading(), ocp.StandardCheckpointer() as checkpointer:
        tree: Any = dict(checkpointer.metadata(path).item_metadata.tree)
        leaves = _flat(tree).items()
        found = {name: Spec(tuple(leaf.shape), np.dtype(leaf.dtype).name) for name, leaf in leaves}
    remedy = "It must be the state of the model that the portable file describes."
    tensors = pools.tensors(pools.describe_pool(op, model.pool), model.streams.pooled)
    tables = {f"pool.{name}": table.values for name, table in tensors.items() if table.values}
    shared = tables.keys() & found.keys() & expected.keys()
    old = {name for name in shared if are_integers(found[name], expected[name])}
    check_layout(op, found | {name: expected[name] for name in old}, expected, remedy)
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    with reading(), ocp.PyTreeCheckpointer() as checkpointer:  # NumPy arrays, from any device
        arrays = _flat(checkpointer.restore(path, restore_args=args))
    for name in old:
        arrays[name] = model.to_own(name, check_values(op, name, arrays[name], tables[name]))
    for name, variable in variables.items():
        variable[...] = jax.numpy.asarray(arrays[name])
    return model


def _flat(tree: Any) -> dict[str, Any]:
    """Return {dotted path: leaf}, without the ``value`` that a state has below each variable."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {".".join(str(getattr(k, "key", k)) for k in path): leaf for path, leaf in leaves}
    return {name.removesuffix(".value"): leaf for name, leaf in named.items()}
