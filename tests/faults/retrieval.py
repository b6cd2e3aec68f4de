"""Faults of descriptors on disk: their files, shards, reduction and search."""

from unittest import mock

import numpy as np

from .library import COMMANDS, fault

DESCRIPTORS, SHARDS, REDUCTION, SEARCH = (
    (f"tests/analysis/test_{name}.py",) for name in ("descriptors", "shards", "reduction", "search")
)
RETRIEVAL = ("tests/cli/test_cli_retrieval.py",)


@fault("descriptors are compared without normalization", "analysis.descriptors:unit", DESCRIPTORS)
def _(f, rows):
    return rows


@fault(
    "the header of descriptors has a wrong number of rows",
    "analysis.descriptors:_header",
    DESCRIPTORS,
)
def _(f, path, dtype):
    header = f(path, dtype)
    return lambda count, *rest: header(max(0, count - 1), *rest)


@fault("another model's descriptors are searched", "cli._model:file_checksum", COMMANDS, "torch")
def _(f, file):
    return mock.ANY  # equal to every checksum


@fault("the last image of a shard is left out", "analysis.shards:shard_of", SHARDS)
def _(f, items, shard, shards):
    found = f(items, shard, shards)
    return found[:-1] if len(found) > 1 else found


@fault("all shards of a set have the same name in each set", "analysis.shards:Index.path", SHARDS)
def _(f, self, folder, shard):
    return folder / f"{shard:05d}-of-{self.shards:05d}.npy"


@fault("missing shards are left out", "analysis.shards:_present", SHARDS)
def _(f, folder, index):
    return [path for k in range(index.shards) if (path := index.path(folder, k)).exists()]


@fault("reduced descriptors are not whitened", "analysis.reduction:fit_reduction", REDUCTION)
def _(f, batches, size):
    mean, weight, *rest = f(batches, size)
    return mean, weight / np.linalg.norm(weight, axis=1, keepdims=True), *rest


@fault("the mean is not subtracted", "analysis.reduction:Reduction.__call__", REDUCTION)
def _(f, self, descriptors):
    return f(self, descriptors + self.mean)


@fault("a query is its own neighbor", "analysis.search:recall_of", SEARCH)
def _(f, queries, found, expected):
    return f(np.full_like(queries, -2), found, expected)


@fault("an index of other rows is searched", "analysis.shards:Collection.checksum", SEARCH)
def _(f, self):
    return ""


@fault("another reduction is used", "cli.retrieve:_reduction", RETRIEVAL, "torch")
def _(f, descriptors):
    retrieve = mock.Mock(reduction=mock.ANY, source=descriptors.source)
    return f(retrieve)
