"""Faults of code without a framework: files, imported weights, classifiers, metrics, commands."""

import dataclasses
import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from bilinear.data.images import Preprocessing

from . import Fault, wrap

FAULTS: list[Fault] = []


def fault(
    name: str, path: str, tests: tuple[str, ...], *namespaces: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Plant ``faulty(f, *arguments)`` in place of the function ``module:name`` or class member."""

    def enter(faulty: Callable[..., Any]) -> Callable[..., Any]:
        def plant() -> None:
            module, _, attribute = path.partition(":")
            owner: Any = importlib.import_module(f"bilinear.{module}")
            *classes, last = attribute.split(".")
            for part in classes:
                owner = getattr(owner, part)
            wrap(owner, last, faulty)

        FAULTS.append(Fault(name, "none", plant, tests, namespaces))
        return faulty

    return enter


def faults() -> list[Fault]:
    return FAULTS


# --- classifiers ---

CLASSIFIERS = ("tests/analysis/test_classifiers.py",)
SVMS = ("tests/analysis/test_linear_svm.py",)
PACK, UNPACK, PERMUTE = (
    f"analysis.classifiers:{name}_classifier" for name in ("pack", "unpack", "permute")
)


def off_diagonal(packed: np.ndarray) -> np.ndarray:
    """True at the entries of a packed triangle that are off its diagonal."""
    rows, columns = np.triu_indices(int(np.sqrt(2 * packed.shape[1])))
    return rows != columns


@fault("a packed classifier has 1/2 in place of 1/√2", PACK, CLASSIFIERS)
def _(f, weight):
    packed = f(weight)
    return np.where(off_diagonal(packed), packed / 2**0.5, packed)


@fault("the diagonal of a packed classifier is doubled", PACK, CLASSIFIERS)
def _(f, weight):
    packed = f(weight)
    return np.where(off_diagonal(packed), packed, 2 * packed)


@fault("an unpacked classifier has only the upper triangle", UNPACK, CLASSIFIERS)
def _(f, weight):
    full = f(weight)
    channels = int(full.shape[1] ** 0.5)
    return np.triu(full.reshape(-1, channels, channels)).reshape(full.shape)


@fault("column-major order is read with C and D exchanged", PERMUTE, CLASSIFIERS)
def _(f, weight, channels, *orders, **options):
    pair = channels if isinstance(channels, int) else tuple(channels)[::-1]
    return f(weight, pair, *orders, **options)


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
def _(f, backbone, taps):
    return f(backbone, None)


@fault("the arguments of a pool within a pool are not checked", "models.pools:check_pooling", POOLS)
def _(f, op, pooling, *arguments):
    inner = {"name": "BilinearPool", "reduction": "mean", "eps": 1e-10, "l2_eps": 1e-12}
    return f(op, {**pooling, "pool": inner} if "pool" in pooling else pooling, *arguments)


def tables_with_momentum() -> None:
    """Integers count as parameters."""
    checkpoint = importlib.import_module("bilinear.models.checkpoint")
    vars(checkpoint)["DTYPES"] = {**checkpoint.DTYPES, "int8": np.int8, "int64": np.int64}


FAULTS.append(Fault("tables may have momentum", "none", tables_with_momentum, POOLS))


# --- metrics and commands ---

CONFUSION = "analysis.metrics:confusion_matrix"


@fault("the scores of SVMs are not rescaled", "analysis.linear_svm:_rescale", SVMS)
def _(f, op, weight, bias, scores, labels):
    return weight, bias


METRICS = ("tests/analysis/test_metrics.py",)
COMMANDS = ("tests/cli", "-k", "not kill")


@fault("the rows of the confusion matrix are predictions", CONFUSION, METRICS)
def _(f, *arguments):
    return f(*arguments).T


@fault("bins of confidence include their lower edge", "analysis.metrics:calibration_error", METRICS)
def _(f, logits, labels, bins=15):
    metrics = importlib.import_module("bilinear.analysis.metrics")
    confidence = metrics.softmax(logits).max(1)
    correct = metrics.top_k(logits, 1)[:, 0] == labels
    index = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(index, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


@fault("the calibration error is a mean over bins", "analysis.metrics:calibration_error", METRICS)
def _(f, logits, labels, bins=15):
    return f(logits, labels, bins) * len(labels) / bins


@fault("a padded batch is returned whole", "cli._model:Model._in_batches", COMMANDS, "torch")
def _(f, self, call, images):
    result = f(self, call, images)
    return np.concatenate([result, result[-1:]]) if len(images) < self.batch_size else result


@fault("a batch is not padded", "cli._model:Model._in_batches", COMMANDS, "jax")
def _(f, self, call, images):
    self.batch_size = len(images)
    return f(self, call, images)


@fault("classes are matched by position", "cli.evaluate:match_classes", COMMANDS, "torch")
def _(f, description, classes):
    return [*range(len(f(description, classes)))]


@fault("a resumed run has the default options", "cli.train:merge_options", COMMANDS, "torch")
def _(f, folder, options):
    recorded = f(folder, options)
    return {name: recorded[name] if name == "data" else value for name, value in options.items()}


@fault("heat is the gradient alone", "cli.explain:gradient_times_input", COMMANDS, "torch")
def _(f, maps, gradients):
    return f([np.ones_like(x) for x in maps], gradients)


@fault("Ctrl-C ends as a failure", "cli._errors:run_guarded", COMMANDS, "torch")
def _(f, *arguments):
    code = f(*arguments)
    return 1 if code == 130 else code


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
