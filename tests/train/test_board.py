"""A run as TensorBoard's events and as curves: both say what the metrics say."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorboard", reason="the extra cli is absent")
pytest.importorskip("matplotlib", reason="the extra cli is absent")

import bilinear
from bilinear.train.curves import Curves, figure
from bilinear.train.events import Events
from bilinear.train.run import LOGGED, Run

from ..linear import STEPS, finish
from ..training import contents, data, events, linear_recipe
from .test_resuming import Stopping

RATES = {"head": ["head"], "all": ["head", "all"]}
"""The parts of each phase of the recipe."""
STEP_BEYOND = {"event": "step", "phase": "all", "epoch": 0, "step": 9, "loss": 1.5, "rates": [1, 1]}


def of_metrics(told: Callable[[Mapping[str, Any]], None]) -> Callable[..., object]:
    """What `train` may tell, of which `told` hears what the metrics have."""
    return lambda event, _: event["event"] in LOGGED and told(event)


def watched(folder: Path, **options: Any) -> None:
    """A run of a network of NumPy, of which events are written."""
    told = Events(Run(folder), linear_recipe())
    finish(folder, watch=of_metrics(told), **options)
    told.finish()


def reader(folder: Path) -> Any:
    """TensorBoard's own, which keeps everything."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    return importlib.import_module(module).EventAccumulator(str(folder / "events"), {"scalars": 0})


def read(accumulator: Any) -> dict[str, list[tuple[int, float]]]:
    """What it sees by now: of each tag the steps and values."""
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The same of the metrics."""
    values, step = defaultdict(list), 0
    for event in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        step = event.get("step", step)
        if event["event"] == "phase":
            values["phase"].append((step, list(RATES).index(event["phase"]) + 1))
            continue
        said = {
            "loss/step": event.get("loss"),
            "loss/training": event.get("training_loss"),
            "loss/validation": event.get("validation_loss"),
            "accuracy/validation": event.get("validation_accuracy"),
        }
        if "rates" in event:
            parts = RATES[event["phase"]]
            said |= {f"rate/{p}": r for p, r in zip(parts, event["rates"], strict=True)}
        for tag, value in said.items():
            if value is not None:
                values[tag].append((step, float(np.float32(value))))
    return values


def test_events_are_the_metrics(tmp_path: Path) -> None:
    watched(tmp_path)
    found = read(reader(tmp_path))
    assert found == expected(tmp_path)
    assert {tag: len(values) for tag, values in found.items()} == {
        **dict.fromkeys(("loss/step", "rate/head"), STEPS),
        **dict.fromkeys(("loss/training", "loss/validation", "accuracy/validation"), 5),
        "rate/all": 9,
        "phase": 2,
    }


def test_events_of_a_resumed_run_have_each_step_once(tmp_path: Path) -> None:
    """Also where events were written beyond the state, and seen, and the last of them was torn."""
    with pytest.raises(InterruptedError):
        watched(tmp_path, pipelines=(Stopping(7), data()[1]))
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"event":"step","phase":"all","epoch":0,"st')
    (old,) = (tmp_path / "events").iterdir()
    records = old.read_bytes()
    beyond = Events(Run(tmp_path), linear_recipe())
    old.write_bytes(records + beyond.record(STEP_BEYOND) + records[-20:])
    onlooker = reader(tmp_path)
    assert read(onlooker)["loss/step"][-1] == (9, 1.5)
    watched(tmp_path, resume=True)
    (new,) = (tmp_path / "events").iterdir()
    assert new.name > old.name
    assert read(reader(tmp_path)) == read(onlooker) == expected(tmp_path)
    new.unlink()
    watched(tmp_path, resume=True)  # which has nothing left to train
    assert read(reader(tmp_path)) == expected(tmp_path)


def test_events_open_without_tensorflow() -> None:
    code = "import sys, bilinear.train.events; print('tensorflow' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


@contextmanager
def full(size: int) -> Iterator[None]:
    """Within, writing a file beyond a size fails as on a full disk."""
    resource = importlib.import_module("resource")  # of POSIX
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
def test_a_disk_too_full_for_events(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "full"
    watched(whole)
    told = Events(Run(folder), linear_recipe())

    def tell(event: Mapping[str, Any]) -> None:
        with full(1000):
            told(event)

    with pytest.raises(OSError, match="File too large") as error:
        finish(folder, watch=of_metrics(tell))
    assert Path(error.value.filename).parent == folder / "events"
    assert 0 < len(events(folder, "step")) < STEPS
    watched(folder, resume=True)
    assert contents(folder) == contents(whole)
    assert read(reader(folder)) == read(reader(whole))


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    def watch(folder: Path) -> Callable[..., object]:
        return of_metrics(Curves(Run(folder)))

    whole, folder = tmp_path / "whole", tmp_path / "refused"
    finish(whole, watch=watch(whole))
    (folder / "curves.png").mkdir(parents=True)
    with Image.open(whole / "curves.png") as image:
        assert image.size == (1000, 700)
    with pytest.raises(IsADirectoryError, match=re.escape(str(folder / "curves.png"))):
        finish(folder, watch=watch(folder))
    (folder / "curves.png").rmdir()
    finish(folder, resume=True)
    assert contents(folder) == {k: v for k, v in contents(whole).items() if k != "curves.png"}


def test_curves_are_the_metrics(tmp_path: Path) -> None:
    finish(tmp_path)
    steps, epochs = events(tmp_path, "step"), events(tmp_path, "epoch")
    upper, lower = figure(Run(tmp_path).logged()).axes
    lines = {str(line.get_label()).partition(":")[0]: line for line in upper.lines}
    for label, said, name in (
        ("training, each step", steps, "loss"),
        ("training, mean", epochs, "training_loss"),
        ("validation", epochs, "validation_loss"),
    ):
        np.testing.assert_array_equal(lines[label].get_xdata(), [e["step"] for e in said])
        np.testing.assert_array_equal(lines[label].get_ydata(), [e[name] for e in said])
    accuracies = [100 * e["validation_accuracy"] for e in epochs]
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), accuracies)
    best = min(epochs, key=lambda e: e["validation_loss"])
    assert np.asarray(lines["best"].get_xydata()).tolist() == [
        [best["step"], best["validation_loss"]]
    ]
    assert [(text.get_text(), text.xy[0]) for text in lower.texts] == [("head", 0), ("all", 6)]


@pytest.mark.parametrize(("pace", "late"), [(1, []), (2, [("epoch", "all", 2)])])
def test_drawing_takes_a_small_part_of_the_time(pace: int, late: list, tmp_path: Path) -> None:
    """By this clock a second, so that twenty pass between two; the end of a phase cannot wait."""
    finish(tmp_path)
    run, seconds, drawn = Run(tmp_path), [0], []
    lines = run.metrics.read_bytes().splitlines(keepends=True)

    def clock() -> int:
        seconds[0] += 1
        return seconds[0]

    curves = Curves(run, clock)
    for number, event in enumerate(run.logged()):
        run.metrics.write_bytes(b"".join(lines[: number + 1]))
        seconds[0] += pace  # an epoch is three steps and itself
        curves(event)
        if run.curves.exists():
            drawn.append((event["event"], event["phase"], event.get("epoch")))
            run.curves.unlink()
    assert drawn == [("phase", "all", None), *late]
    curves.finish()
    assert run.curves.exists() == (not late)  # else the last epoch is drawn already


def test_without_its_packages_training_says_what_to_install(tmp_path: Path) -> None:
    """A real absence: of all that is installed, only what the library itself stands on."""
    for name in ("numpy", "numpy.libs", "ml_dtypes", "safetensors", "PIL", "pillow.libs"):
        if (found := Path(np.__file__).parents[1] / name).exists():
            (tmp_path / name).symlink_to(found)
    (tmp_path / "bilinear").symlink_to(Path(bilinear.__file__).parent)
    code = "from bilinear.train import fit, named; fit(named('multi-phase'), 'torch', None, 'run')"
    command = [sys.executable, "-S", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.stderr.splitlines()[-1] == (
        "ImportError: bilinear.train.fit needs tensorboard and matplotlib, not installed here; "
        "pip install 'bilinear[cli]' installs what it needs."
    )
