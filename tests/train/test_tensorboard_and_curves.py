"""TensorBoard events and curves of a run contain what its metrics contain."""

import importlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorboard", reason="the extra cli is not installed")
pytest.importorskip("matplotlib", reason="the extra cli is not installed")

from bilinear.train.curves import Curves, figure
from bilinear.train.events import Metric, StepDone
from bilinear.train.run import Run
from bilinear.train.tensorboard_log import TensorBoardLog

from ..linear import STEPS, finish
from ..training import contents, data, events, full_disk, linear_recipe
from .test_resuming import Stopping

GROUPS = {"head": ["head"], "all": ["head", "all"]}
"""The parameter groups of each phase of the recipe."""
LATER_STEP = StepDone("all", epoch=0, step=9, loss=1.5, accuracy=0.5, rates=[1, 1])


def metrics_only(log: Callable[[Metric], None]) -> Callable[..., object]:
    """A `watch` argument that passes on the events of the metrics."""
    return lambda event, _: isinstance(event, Metric) and log(event)


def train_with_log(folder: Path, **options: Any) -> None:
    """Train the NumPy engine and write TensorBoard events."""
    log = TensorBoardLog(Run(folder), linear_recipe())
    finish(folder, watch=metrics_only(log), **options)
    log.finish()


def reader(folder: Path) -> Any:
    """TensorBoard's reader, without subsampling."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    return importlib.import_module(module).EventAccumulator(str(folder / "events"), {"scalars": 0})


def read(accumulator: Any) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of each tag so far."""
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The same, from the metrics."""
    names = {f"{what}/step": what for what in ("loss", "accuracy")}
    for split in "training", "validation":
        names |= {f"{what}/{split}": f"{split}_{what}" for what in ("loss", "accuracy")}
    names["accuracy/validation_class_mean"] = "validation_class_accuracy"
    values, step = defaultdict(list), 0
    for event in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        step, groups = event.get("step", step), GROUPS[event["phase"]]
        said = {tag: event[name] for tag, name in names.items() if name in event}
        if event["event"] == "phase":
            said = {"phase": list(GROUPS).index(event["phase"]) + 1}
        elif event["event"] == "step":
            said |= {f"learning_rate/{g}": r for g, r in zip(groups, event["rates"], strict=True)}
        for tag, value in said.items():
            values[tag].append((step, float(np.float32(value))))
    return values


def test_tensorboard_events_equal_the_metrics(tmp_path: Path) -> None:
    train_with_log(tmp_path)
    found = read(reader(tmp_path))
    assert found == expected(tmp_path)
    assert {tag: len(values) for tag, values in found.items()} == {
        **dict.fromkeys(("loss/step", "accuracy/step", "learning_rate/head"), STEPS),
        **dict.fromkeys(("loss/training", "loss/validation", "accuracy/training"), 5),
        **dict.fromkeys(("accuracy/validation", "accuracy/validation_class_mean"), 5),
        "learning_rate/all": 9,
        "phase": 2,
    }


def test_a_resumed_run_has_one_tensorboard_event_for_each_step(tmp_path: Path) -> None:
    """Also after events beyond the state, which an open TensorBoard has read, and a torn one."""
    with pytest.raises(InterruptedError):
        train_with_log(tmp_path, pipelines=(Stopping(7), data()[1]))
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"event":"step","phase":"all","epoch":0,"st')
    (old,) = (tmp_path / "events").iterdir()
    records = old.read_bytes()
    later = TensorBoardLog(Run(tmp_path), linear_recipe())
    old.write_bytes(records + later.encode(LATER_STEP) + records[-20:])
    viewer = reader(tmp_path)
    assert read(viewer)["loss/step"][-1] == (9, 1.5)
    train_with_log(tmp_path, resume=True)
    (new,) = (tmp_path / "events").iterdir()
    assert new.name > old.name
    assert read(reader(tmp_path)) == read(viewer) == expected(tmp_path)
    new.unlink()
    train_with_log(tmp_path, resume=True)  # nothing is left to train
    assert read(reader(tmp_path)) == expected(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
def test_a_full_disk_is_reported_with_the_event_file(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "full"
    train_with_log(whole)
    log = TensorBoardLog(Run(folder), linear_recipe())

    def log_to_full_disk(event: Metric) -> None:
        with full_disk(1000):
            log(event)

    with pytest.raises(OSError, match="File too large") as error:
        finish(folder, watch=metrics_only(log_to_full_disk))
    assert Path(error.value.filename).parent == folder / "events"
    assert 0 < len(events(folder, "step")) < STEPS
    train_with_log(folder, resume=True)
    assert contents(folder) == contents(whole)
    assert read(reader(folder)) == read(reader(whole))


def test_a_figure_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The run can be resumed, and without this figure it ends as one that drew it."""
    whole, folder = tmp_path / "whole", tmp_path / "refused"
    finish(whole, watch=metrics_only(Curves(Run(whole))))
    (folder / "curves.png").mkdir(parents=True)
    with Image.open(whole / "curves.png") as image:
        assert image.size == (1000, 700)
    with pytest.raises(IsADirectoryError, match=re.escape(str(folder / "curves.png"))):
        finish(folder, watch=metrics_only(Curves(Run(folder))))
    (folder / "curves.png").rmdir()
    finish(folder, resume=True)
    assert contents(folder) == {k: v for k, v in contents(whole).items() if k != "curves.png"}


def test_curves_equal_the_metrics(tmp_path: Path) -> None:
    finish(tmp_path)
    steps, epochs = events(tmp_path, "step"), events(tmp_path, "epoch")
    upper, lower = figure(Run(tmp_path).read_metrics()).axes
    lines = {str(line.get_label()).partition(":")[0]: line for line in upper.lines}
    for label, logged, name in (
        ("training, each step", steps, "loss"),
        ("training, mean", epochs, "training_loss"),
        ("validation", epochs, "validation_loss"),
    ):
        np.testing.assert_array_equal(lines[label].get_xdata(), [e["step"] for e in logged])
        np.testing.assert_array_equal(lines[label].get_ydata(), [e[name] for e in logged])
    for line, split in zip(lower.lines, ("training", "validation"), strict=False):
        accuracies = [100 * e[f"{split}_accuracy"] for e in epochs]
        np.testing.assert_array_equal(line.get_ydata(), accuracies, split)
    best = min(epochs, key=lambda e: e["validation_loss"])
    (point,) = np.asarray(lines["best"].get_xydata()).tolist()
    assert point == [best["step"], best["validation_loss"]]
    assert [(text.get_text(), text.xy[0]) for text in lower.texts] == [("head", 0), ("all", 6)]


@pytest.mark.parametrize(("pace", "late"), [(1, []), (2, [("all", 2)])])
def test_drawing_takes_a_small_share_of_the_time(pace: int, late: list, tmp_path: Path) -> None:
    """A drawing takes a second by this clock, so twenty must pass; a phase end is always drawn."""
    finish(tmp_path)
    run, seconds, drawn = Run(tmp_path), [0], []
    lines = run.metrics.read_bytes().splitlines(keepends=True)

    def clock() -> int:
        seconds[0] += 1
        return seconds[0]

    curves = Curves(run, clock)
    for number, event in enumerate(run.read_metrics()):
        run.metrics.write_bytes(b"".join(lines[: number + 1]))
        seconds[0] += pace  # an epoch is three steps and its end
        curves(event)
        if run.curves.exists():
            drawn.append((event.phase, getattr(event, "epoch", None)))
            run.curves.unlink()
    assert drawn == [("all", None), *late]
    curves.finish()
    assert run.curves.exists() == (not late)  # else the last epoch was drawn
