"""Faults of training on several devices of JAX, and with a sharded classifier in PyTorch."""

import importlib
from dataclasses import replace

import numpy as np

from .library import fault

DEVICES, JAX_DEVICES = ("tests/train/test_devices.py",), "train.engines.jax.devices:Devices"
OF_ALL = ("tests/train/test_processes.py", "-k", "parts_of_a_batch")


@fault(
    "jax: the rows that fill the last device count",
    f"{JAX_DEVICES}._without_padding",
    DEVICES,
    "jax",
)
def _(f, self, batch, sizes):
    return batch


@fault(
    "jax: devices do not receive values that are assigned", f"{JAX_DEVICES}.spread", DEVICES, "jax"
)
def _(f, self, values):
    trees = importlib.import_module("jax").tree_util

    def old(path, x):
        return self.placed.get(trees.keystr(path), (x,))[0]

    return f(self, trees.tree_map_with_path(old, values))


@fault("jax: a sharded classifier is replicated", f"{JAX_DEVICES}._sharding", DEVICES, "jax")
def _(f, self, path, ndim):
    return self.replicated


@fault(
    "jax: any number of devices shards the classes",
    "train.engines.jax.devices:check_classifier",
    DEVICES,
    "jax",
)
def _(f, model, devices):
    return None


@fault("jax: only the first device receives the weights", f"{JAX_DEVICES}._place", DEVICES, "jax")
def _(f, self, value, sharding):
    placed = f(self, value, sharding)
    if not sharding.is_fully_replicated:
        return placed
    first, *others = (shard.data for shard in placed.addressable_shards)
    copies = [first, *(0 * x for x in others)]
    jax = importlib.import_module("jax")
    return jax.make_array_from_single_device_arrays(value.shape, sharding, copies)


@fault(
    "processes weigh a batch by their own images", "train.engines.parts:split_batch_of_all", OF_ALL
)
def _(f, plan, labels, processes):
    parts, _ = f(plan, labels, processes)
    return parts, float(len(labels))


SHARDED = "train.engines.torch.classifier:ShardedClassifier."
CLASSIFIER = ("tests/cli/test_cli_survival.py", "-k", "several_processes")


@fault(
    "torch: the gradient of a sharded classifier is a mean", SHARDED + "summed", CLASSIFIER, "torch"
)
def _(f, self, parts):
    yield from f(self, parts)
    for rows in self.rows.values():
        rows.grad = None if rows.grad is None else rows.grad / self.processes.count


@fault("torch: each process clips its own gradient", SHARDED + "clip", CLASSIFIER, "torch")
def _(f, self, parameters, limit):
    together = self.processes
    self.processes = replace(together, add=np.array)
    f(self, parameters, limit)
    self.processes = together


@fault("torch: a shard has the rows of other classes", SHARDED + "select", CLASSIFIER, "torch")
def _(f, self, array):
    return f(self, np.roll(array, 1, 0))


@fault(
    "torch: only the last part of a batch trains a shard", SHARDED + "summed", CLASSIFIER, "torch"
)
def _(f, self, parts):
    for part in f(self, parts):
        self.module.zero_grad()
        yield part
