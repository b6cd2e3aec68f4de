"""Faults of code without a framework: classifiers, metrics, commands."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

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
