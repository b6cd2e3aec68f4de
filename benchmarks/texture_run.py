"""One training run of the texture benchmark and its test, in one process on one core.

    python -m benchmarks.texture_run KEY FRAMEWORK SEED CORE DATA RESULT [PATH=VALUE ...]

It calls `bilinear train` and then `bilinear evaluate` on the test split, once. The result is JSON.
If training stops because the network collapses to chance level, the best earlier model is tested,
and the result says so.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bilinear._files import replace_file
from bilinear.train import Recipe, named_recipe, override

from . import machine

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
METRICS = ("images", "loss", "top1", "mean_class_accuracy", "calibration_error")
"""Metrics of the test, with the names of `bilinear evaluate`."""
COLLAPSE = "the network must not fall back to chance level"
"""Part of the error message of a collapse."""
AVERAGE = ("model.pool=AveragePool",)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "two-phase": ("bcnn-two-phase", ()),
    "two-phase-average": ("bcnn-two-phase", AVERAGE),
    "two-stream": ("bcnn-two-stream", ()),
    "two-stream-one": ("bcnn-two-stream", ("model.backbone_b=null",)),
    "multi-phase": ("multi-phase", ()),
    "multi-phase-average": ("multi-phase", AVERAGE),
}
"""Row -> recipe file, and changes to the recipe."""


def file_of(key: str) -> Path:
    return RECIPES / f"{KINDS[key][0]}.json"


def changes_of(key: str, seed: int) -> list[str]:
    """Changes to the recipe file, in the form of --set."""
    return [*KINDS[key][1], f"seed={seed}"]


def machine_of(framework: str) -> str:
    """Description of the machine and the versions of a run."""
    return machine.describe([framework], "cpu", 1)


def recipe(key: str, seed: int) -> Recipe:
    """The recipe of a row."""
    return override(
        Recipe.from_json(file_of(key).read_text(encoding="utf-8")), changes_of(key, seed)
    )


def differences(name: str) -> dict[str, tuple[str, str]]:
    """Path of each field that differs -> its published value and its value here, as JSON."""
    path = RECIPES / f"{name}.json"
    here = dict(_leaves(json.loads(path.read_text(encoding="utf-8"))))
    published = dict(_leaves(json.loads(named_recipe(name).to_json())))
    paths = [p for p in {**published, **here} if published.get(p) != here.get(p)]
    return {p: (json.dumps(published.get(p)), json.dumps(here.get(p))) for p in paths}


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of each scalar or list of scalars in JSON data."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in pairs:
        inner_path = f"{path}.{key}".lstrip(".")
        nested = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(inner, dict) for inner in value)
        )
        if nested:
            yield from _leaves(value, inner_path)
        else:
            yield inner_path, value


def commands(
    key: str, framework: str, seed: int, data: str, run: str, more: Sequence[str] = ()
) -> list[list[str]]:
    """Arguments of ``bilinear`` for a run and its test, with `more` changes to the recipe."""
    sets = [word for change in (*changes_of(key, seed), *more) for word in ("--set", change)]
    by = ["--framework", framework]
    train = ["train", str(file_of(key)), data, run, *sets, "--workers", "0", *by]
    return [train, ["evaluate", f"{run}/best.safetensors", data, "--out", f"{run}/test", *by]]


def result(folder: Path) -> dict[str, Any]:
    """Result of a run: the checksum of its recipe, its epochs, and the metrics of the test."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    test = json.loads((folder / "test" / "metrics.json").read_text(encoding="utf-8"))
    ran = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))
    return {
        "recipe": ran.checksum(),
        "epochs": [event for event in map(json.loads, lines) if event["event"] == "epoch"],
        "test": {name: test[name] for name in METRICS},
    }


def main() -> None:
    key, framework, seed, core, data, path, *more = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # Linux: this applies to the threads of every framework
        os.sched_setaffinity(0, {int(core)})
    from bilinear.cli import run  # noqa: PLC0415 (after the core is set)

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        train, test = commands(key, framework, int(seed), data, str(folder), more)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            code = run(train)
        print(errors.getvalue(), file=sys.stderr)
        stopped = COLLAPSE in errors.getvalue()
        if code and not stopped:
            raise SystemExit(code)
        if code := run(test):
            raise SystemExit(code)
        seconds = time.perf_counter() - start
        found = result(folder) | {"stopped": stopped, "seconds": seconds}
        found["machine"] = machine_of(framework)
    with replace_file(path) as temporary:
        Path(temporary).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
