"""Measure every pooling layer and the two smallest models in the formats for deployment.

    python -m benchmarks.deployment                                print the tables
    python -m benchmarks.deployment --write docs/deployment.md     also replace them in this file
    python -m benchmarks.deployment --format LiteRT                only some formats, or none

The results folder keeps what earlier runs measured.

The outputs of a layer are compared with the reference, within the bound that is derived from its
inputs; those of a model with the framework's own, within `bilinear.models.export.TOLERANCE`. A
format that fails, or whose outputs are outside of the bound, for other sizes than those of the
example is tried with a fixed image size, then with a fixed batch too.
"""

import argparse
import functools
import importlib
import importlib.util
import json
import multiprocessing
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bilinear.models.export import TOLERANCE
from bilinear.testing import LAYERS
from bilinear.testing.bounds import Bounded
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_within
from bilinear.testing.ratios import WORST, Subject

from . import machine
from .keras_layers import use_backend
from .measure import Spread, time_in_turn
from .report import table, write

CHANNELS, DIM = 6, 8


class Case(NamedTuple):
    """A layer, or a model if `name` is ``"BCNN"``, with its arguments."""

    name: str
    parameters: dict[str, Any] = {}  # noqa: RUF012
    streams: int = 1


OF_CHANNELS = {"channels": CHANNELS, "dim": DIM}
MODEL = {"num_classes": 10, "projection": 64}
CASES = {
    "AveragePool": Case("AveragePool"),
    "BilinearPool": Case("BilinearPool"),
    "BilinearPool, two streams": Case("BilinearPool", {}, 2),
    "BilinearPool, packed": Case("BilinearPool", {"packed": True}),
    "CompactBilinearPool": Case("CompactBilinearPool", OF_CHANNELS),
    "CompactBilinearPool, random Maclaurin": Case(
        "CompactBilinearPool", {**OF_CHANNELS, "method": "random_maclaurin"}
    ),
    "CovariancePool": Case("CovariancePool"),
    "CovariancePool, eigenvectors": Case("CovariancePool", {"method": "eigen", "tol": 2.0**-10}),
    "ImprovedBilinearPool": Case("ImprovedBilinearPool"),
    "LowRankBilinearPool": Case("LowRankBilinearPool", OF_CHANNELS),
    "LowRankBilinearClassifier": Case(
        "LowRankBilinearClassifier", {"channels": CHANNELS, "num_classes": DIM, "rank": 3}
    ),
    "HierarchicalBilinearPool": Case(
        "HierarchicalBilinearPool", {"channels": [CHANNELS, CHANNELS], "dim": DIM}, 2
    ),
    "DemocraticPool": Case("DemocraticPool", {"steps": 2}),
    "OuterMaxPool": Case("OuterMaxPool"),
    "BCNN, vgg16": Case("BCNN", {"backbone": "vgg16", **MODEL}),
    "BCNN, resnet18": Case("BCNN", {"backbone": "resnet18", **MODEL}),
}


class Format(NamedTuple):
    """What a format needs."""

    framework: str
    packages: tuple[str, ...] = ()
    """Further packages that write and run it."""
    of_keras: bool = False
    """Whether ``model.export`` of Keras writes it, on the backend `framework`."""


COLOR = re.compile("\x1b\\[[0-9]*m")
FORMATS = {
    "ONNX in ONNX Runtime": Format("torch", ("onnx", "onnxscript", "onnxruntime")),
    "ONNX in OpenVINO": Format("torch", ("onnx", "onnxscript", "openvino")),
    "ONNX of Keras on TensorFlow": Format("tensorflow", ("tf2onnx", "onnxruntime"), True),
    "ONNX of Keras on JAX": Format("jax", ("keras", "jax2onnx", "onnxruntime"), True),
    "ONNX of Keras on PyTorch": Format("torch", ("keras", "onnx", "onnxruntime"), True),
    "torch.export": Format("torch"),
    "AOTInductor": Format("torch"),
    "torch.jit.trace": Format("torch"),
    "SavedModel": Format("tensorflow"),
    "LiteRT": Format("tensorflow", ("ai_edge_litert",)),
    "jax.export": Format("jax"),
}

LEVELS = ("batch and size", "batch", "none")
"""What may differ from the example: tried from the left."""


def inputs(case: Case) -> list[list[np.ndarray]]:
    """Channels-last arrays: of the example, of another batch size, and of another image size."""
    if case.name == "BCNN":
        shapes = [(2, 64, 64, 3), (3, 64, 64, 3), (3, 96, 64, 3)]
    else:
        shapes = [(n, h, w, CHANNELS) for n, h, w in ((2, 3, 4), (3, 3, 4), (3, 5, 4))]
    return [
        [normal("float32", *shape, seed=seed) for seed in range(case.streams)] for shape in shapes
    ]


def measure(form: str, label: str, seconds: float) -> dict[str, Any]:
    """Return what the tables show of a case in a format; ``{"error": …}`` if it cannot be used."""
    framework, _, of_keras = FORMATS[form]
    if of_keras:
        return _process(framework).submit(_measure, "keras", form, label, seconds).result()
    return _measure(framework, form, label, seconds)


@functools.cache
def _process(backend: str) -> ProcessPoolExecutor:
    """A process in which Keras computes with `backend`."""
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, fresh, initializer=use_backend, initargs=(backend,))


def _measure(exporter: str, form: str, label: str, seconds: float) -> dict[str, Any]:
    case, module = CASES[label], importlib.import_module(f"{__package__}.{exporter}_formats")
    model, error = module.build(case), ""
    own, given = module.native(model), inputs(case)
    for used, dynamic in zip((3, 2, 1), LEVELS, strict=True):
        try:
            with tempfile.TemporaryDirectory() as folder:
                run, size = module.FORMATS[form](model, given[0], dynamic, Path(folder))
                ratios = [_ratio(form, case, run(*x), x, own) for x in given[:used]]
                runs = {"format": lambda run=run: run(*given[0]), "own": lambda: own(*given[0])}
                times = time_in_turn(runs, seconds)
        except Exception as failure:
            cause: BaseException = failure
            while cause.__cause__:
                cause = cause.__cause__
            text = " ".join(COLOR.sub("", str(cause)).split()).replace(f"{folder}/", "")
            error = f"{type(cause).__name__}: {text}"
            continue
        median = {name: Spread.of(t).median / len(given[0][0]) for name, t in times.items()}
        return {"ratio": max(ratios), "dynamic": dynamic, "size": size, **median}
    return {"error": error}


def _ratio(
    form: str, case: Case, result: np.ndarray, arrays: list[np.ndarray], own: Callable
) -> float:
    """Largest error divided by its bound. Raises: AssertionError if it is outside."""
    if case.name == "BCNN":
        expected = own(*arrays)
        error = float(np.linalg.norm(result - expected) / np.linalg.norm(expected))
        assert error <= TOLERANCE, f"the logits differ by {error:.2g}"
        return error / TOLERANCE
    specified = LAYERS[case.name].specify(tuple(arrays), dict(case.parameters), None)
    truth = Bounded(specified.value().astype(np.longdouble), specified.value("float32").error)
    subject = Subject(case.name, form, "float32", "forward")
    WORST.pop(subject, None)
    assert_within(np.asarray(result), truth, "float32", f"{case.name} in {form}", subject)
    return WORST[subject]


def _packages(form: str) -> tuple[str, ...]:
    return FORMATS[form].framework, *FORMATS[form].packages


def missing(form: str) -> list[str]:
    """The packages of a format that are not installed."""
    return [name for name in _packages(form) if not importlib.util.find_spec(name)]


def tables(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Return one table per format."""
    lines: list[str] = []
    for form in (name for name in FORMATS if name in found):
        head = ("", "supported", "error ÷ bound", "any", "size", "µs per image", "framework")
        lines += [f"### {form}", "", *table(head, (_row(*pair) for pair in found[form].items()))]
        failed = {label: row["error"] for label, row in found[form].items() if "error" in row}
        lines += ["", *(f"- {label}: `{text[:150]}`" for label, text in failed.items()), ""]
    others = [form for form in FORMATS if form not in found]
    return [*lines, f"Not measured: {', '.join(others)}."] if others else lines


def _row(label: str, row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [label, "no", "", "", "", "", ""]
    times = [f"{1e6 * row[name]:,.0f}" for name in ("format", "own")]
    return [label, "yes", f"{row['ratio']:.2f}", row["dynamic"], f"{row['size']:,}", *times]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.deployment", description=__doc__)
    parser.add_argument("--format", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=0.3, help="time limit for each row")
    parser.add_argument("--out", type=Path, default=Path("out"), help="results folder")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    given = parser.parse_args(words)
    os.environ |= machine.NO_GPU
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "deployment.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    for form in given.format:
        if absent := missing(form):
            print(f"{form} was not measured without {', '.join(absent)}", file=sys.stderr)
            continue
        for label in given.case:
            print(f"{form}: {label}", file=sys.stderr, flush=True)
            found.setdefault(form, {})[label] = measure(form, label, given.seconds)
            file.write_text(json.dumps(found, indent=1) + "\n")
    used = sorted({name for form in found for name in _packages(form)})
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in used)
    command = shlex.join(["python", "-m", "benchmarks.deployment"])
    where = f"Machine: {machine.processor()}, {os.cpu_count()} cores. Versions: {versions}."
    lines = [f"{where} Command: `{command}`.", "", *tables(found)]
    print("\n".join(lines), flush=True)
    if given.write:
        write(given.write, "deployment", lines)


if __name__ == "__main__":
    main()
