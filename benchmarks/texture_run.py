"""One training run on the textures and its test, in a process and on a core of its own.

    python -m benchmarks.texture_run KEY FRAMEWORK SEED CORE DATA RESULT [PATH=VALUE ...]

It is `bilinear train` and, once, `bilinear evaluate` on the test part; the result is JSON. Where
training stops since a phase unlearns what the one before learned, the best model until then is
tested, and the result says so.
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

from bilinear._files import replacing
from bilinear.train import Recipe, changed, named

from . import machine

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
NUMBERS = ("images", "loss", "top1", "mean_class_accuracy", "calibration_error")
"""Of the test, as `bilinear evaluate` names them."""
COLLAPSE = "a phase must not unlearn what was learned before"
"""What training says when it stops for that."""
AVERAGE = ("model.pool=AveragePool", "phases.0.groups.0.rate=0.01")
LATER = tuple(f"phases.{phase}.groups.0.rate=0.01" for phase in (1, 2, 3))
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "two-phase": ("bcnn-two-phase", ()),
    "two-phase-average": ("bcnn-two-phase", AVERAGE),
    "two-stream": ("bcnn-two-stream", ()),
    "two-stream-one": ("bcnn-two-stream", ("model.backbone_b=null",)),
    "multi-phase": ("multi-phase", ()),
    "multi-phase-average": ("multi-phase", AVERAGE + LATER),
}
"""Key -> the file of its recipe, and what is changed of that."""


def file_of(key: str) -> Path:
    return RECIPES / f"{KINDS[key][0]}.json"


def changes_of(key: str, seed: int) -> list[str]:
    """What is changed of the recipe in the file, as --set takes it."""
    return [*KINDS[key][1], f"seed={seed}"]


def machine_of(framework: str) -> str:
    """Where a run is done, and on what versions."""
    return machine.described([framework], "cpu", 1)


def recipe(key: str, seed: int) -> Recipe:
    """What is trained in a row of the table."""
    return changed(
        Recipe.from_json(file_of(key).read_text(encoding="utf-8")), changes_of(key, seed)
    )


def differences(name: str) -> dict[str, tuple[str, str]]:
    """Path -> what is published and what the recipe in the file has otherwise, as JSON."""
    path = RECIPES / f"{name}.json"
    here = dict(_leaves(json.loads(path.read_text(encoding="utf-8"))))
    published = dict(_leaves(json.loads(named(name).to_json())))
    paths = [p for p in {**published, **here} if published.get(p) != here.get(p)]
    return {p: (json.dumps(published.get(p)), json.dumps(here.get(p))) for p in paths}


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in JSON that holds no others but scalars, with the path to it."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in pairs:
        way = f"{path}.{key}".lstrip(".")
        nested = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(inner, dict) for inner in value)
        )
        if nested:
            yield from _leaves(value, way)
        else:
            yield way, value


def commands(
    key: str, framework: str, seed: int, data: str, run: str, more: Sequence[str] = ()
) -> list[list[str]]:
    """The words after ``bilinear`` of a run and of its test, `more` of the recipe changed."""
    sets = [word for change in (*changes_of(key, seed), *more) for word in ("--set", change)]
    by = ["--framework", framework]
    train = ["train", str(file_of(key)), data, run, *sets, "--workers", "0", *by]
    return [train, ["evaluate", f"{run}/best.safetensors", data, "--out", f"{run}/test", *by]]


def result(folder: Path) -> dict[str, Any]:
    """What is kept of a run: the checksum of its recipe, its epochs, the numbers of the test."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    test = json.loads((folder / "test" / "metrics.json").read_text(encoding="utf-8"))
    ran = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))
    return {
        "recipe": ran.checksum(),
        "epochs": [event for event in map(json.loads, lines) if event["event"] == "epoch"],
        "test": {name: test[name] for name in NUMBERS},
    }


def main() -> None:
    key, framework, seed, core, data, path, *more = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # Linux: every framework's threads follow
        os.sched_setaffinity(0, {int(core)})
    from bilinear.cli import run  # noqa: PLC0415 (after the core is chosen)

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        train, test = commands(key, framework, int(seed), data, str(folder), more)
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            code = run(train)
        print(told.getvalue(), file=sys.stderr)
        stopped = COLLAPSE in told.getvalue()
        if code and not stopped:
            raise SystemExit(code)
        if code := run(test):
            raise SystemExit(code)
        seconds = time.perf_counter() - start
        found = result(folder) | {"stopped": stopped, "seconds": seconds}
        found["machine"] = machine_of(framework)
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
