"""Faults of the files of models: imported weights, portable files, exported programs."""

import dataclasses
import importlib
import json
from collections.abc import Callable

import numpy as np

from bilinear.data.images import Preprocessing

from . import Fault
from .library import FAULTS, fault

# --- Keras' weights and imported checkpoints ---

KERAS = ("tests/models/test_keras_weights.py",)
IMPORTS = ("tests/models/test_imports.py", "-k", "not logits")
LOGITS = ("tests/models/test_imports.py", "-k", "logits and (fast-mpn or twice)")
PREPROCESSING = "models.weights:weights_preprocessing"
TENSORS = "models.keras_weights:keras_tensors"
STATE = "models.state_dict:state_tensors"


def with_first(tensors: dict[str, np.ndarray], change: Callable[[np.ndarray], np.ndarray]):
    return tensors | {"features.0.weight": change(tensors["features.0.weight"])}


@fault("the channels of Keras stay BGR", TENSORS, KERAS)
def _(f, *arguments):
    return with_first(f(*arguments), lambda kernel: np.ascontiguousarray(kernel[:, ::-1]))


@fault("the kernels of Keras are mirrored", TENSORS, KERAS)
def _(f, *arguments):
    return with_first(f(*arguments), lambda kernel: np.ascontiguousarray(kernel[:, :, ::-1]))


@fault("Keras' weights have torchvision's preprocessing", PREPROCESSING, KERAS)
def _(f, *arguments):
    return f(*arguments) and Preprocessing()


@fault("the prefix of DataParallel stays", STATE, IMPORTS)
def _(f, op, saved, known):
    found = f(op, saved, known)
    wrapped = any("module." in f"{name}" for name in saved)
    return {f"module.{name}" if wrapped else name: value for name, value in found.items()}


@fault("the counters of BatchNorm are imported", STATE, IMPORTS)
def _(f, op, saved, known):
    counters = {n: v for n, v in saved.items() if f"{n}".endswith("num_batches_tracked")}
    return f(op, saved, known) | counters


@fault("one tensor overwrites another of the same name", STATE, IMPORTS)
def _(f, op, saved, known):
    if not isinstance(saved, dict):
        return f(op, saved, known)
    plain = {f"{name}".removeprefix("module."): value for name, value in saved.items()}
    tensors = all(isinstance(v, np.ndarray) for v in plain.values())
    return f(op, plain if tensors else saved, known)


@fault("the order of the features is ignored", "models.imports:permute_classifier", IMPORTS)
def _(f, weight, channels, order):
    return weight


@fault("two streams are exchanged", "models.layouts:Layout.names", LOGITS, "torch")
def _(f, self, backbone):
    swapped = {"backbone": "backbone_b", "backbone_b": "backbone"}
    names = f(self, backbone)
    if not any(name.startswith("backbone_b.") for name in names.values()):
        return names
    split = {theirs: name.partition(".") for theirs, name in names.items()}
    return {key: f"{swapped.get(part, part)}.{rest}" for key, (part, _, rest) in split.items()}


# --- portable files ---

WRITE, DESCRIBE = "models.portable:write", "models.portable:describe_pool"
FILES = ("tests/models/test_files.py",)
MOMENTUM = ("tests/models/test_pooled_models.py", "-k", "momentum")
PACKED = ("tests/models/test_pooled_models.py", "-k", "packed")
POOLS = ("tests/models/test_pools.py", "tests/models/test_description.py")
PLANS = ("tests/models/test_plans.py",)
PATHS = ("tests/models/test_own_networks.py", "-k", "import_path")


@fault("momentum is missing in the file", WRITE, MOMENTUM, "torch")
def _(f, path, description, tensors, momentum):
    return f(path, description, tensors, None)


@fault("the names of the classes are missing in the file", WRITE, FILES, "torch")
def _(f, path, description, tensors, momentum):
    return f(path, dataclasses.replace(description, classes=None), tensors, momentum)


@fault("the arguments of the pool are missing in the file", DESCRIBE, PACKED, "torch")
def _(f, op, pool):
    found = f(op, pool)
    return {**found, "eps": 1e-10, "l2_eps": 1e-12} if "eps" in found else found


@fault("the integers of tables are not checked", "models.checkpoint:check_values", POOLS)
def _(f, op, name, array, values):
    return array


@fault("a file always imports its backbone", "models.portable:Files._make", PATHS, "torch")
def _(f, self, op, description, given, allow_import):
    return f(self, op, description, given, True)


@fault("every file has format version 1", "models.description:Description.to_json", POOLS)
def _(f, self):
    return json.dumps(json.loads(f(self)) | {"format_version": 1})


@fault("projections are drawn as small as the classifier", "models.plans:_initial", PLANS)
def _(f, rng, name, shape, dtype):
    drawn = f(rng, name, shape, dtype)
    return (drawn * (0.01 * shape[1] ** 0.5)).astype(dtype) if "projection" in name else drawn


@fault("taps do not cut the network", "models.plans:cut", POOLS)
def _(f, backbone, taps, *rest):
    return f(backbone, None, *rest)


@fault("the arguments of a pool within a pool are not checked", "models.pools:check_pooling", POOLS)
def _(f, op, pooling, *arguments):
    inner = {"name": "BilinearPool", "reduction": "mean", "eps": 1e-10, "l2_eps": 1e-12}
    return f(op, {**pooling, "pool": inner} if "pool" in pooling else pooling, *arguments)


def tables_with_momentum() -> None:
    """Integers count as parameters."""
    checkpoint = importlib.import_module("bilinear.models.checkpoint")
    vars(checkpoint)["DTYPES"] = {**checkpoint.DTYPES, "int8": np.int8, "int64": np.int64}


FAULTS.append(Fault("tables may have momentum", "none", tables_with_momentum, POOLS))


# --- exported programs ---

EXPORTS, UNTRACED = "tests/models/test_export.py", "tests/layers/test_torch_export.py"


@fault(
    "an exported file is kept whatever its logits", "models.export:_difference", (EXPORTS,), "torch"
)
def _(f, result, expected):
    return 0.0


CONVOLUTION = "backends.torch.tensor_sketch:_real_convolution"


@fault("a correlation in place of a convolution", CONVOLUTION, (UNTRACED,), "torch")
def _(f, a, b):
    return f(a, b.flip(-1).roll(1, -1))
