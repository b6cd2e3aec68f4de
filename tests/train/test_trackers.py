"""Trackers receive the values of the metrics, in a new run for each process."""

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic", reason="the extra cli is not installed")

from bilinear.train import trackers
from bilinear.train.events import Metric, PhaseStarted
from bilinear.train.run import Run
from bilinear.train.scalars import scalars

from ..linear import STEPS, finish
from ..training import data, linear_recipe
from .test_resuming import Stopping


class Memory:
    """A tracker that keeps its runs."""

    runs: list["Memory"]

    def __init__(self, run: Run, recipe: Any) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.failed: bool | None = None
        self.runs.append(self)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def finish(self, *, failed: bool) -> None:
        self.failed = failed


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    monkeypatch.setattr(Memory, "runs", [], raising=False)
    monkeypatch.setattr(trackers, "require_packages", lambda *_: None)  # wandb may be absent
    monkeypatch.setitem(trackers.TRACKERS, "memory", Memory)
    return Memory


def track(name: str, folder: Path, **options: Any) -> None:
    """Train the NumPy engine with a tracker."""
    recipe = linear_recipe()
    with trackers.open_trackers([name], Run(folder), recipe) as opened:

        def watch(event: Any, _: int) -> None:
            if isinstance(event, Metric):
                opened[0](event)

        finish(folder, watch=watch, **options)


def expected(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """The step and the values of each event of the metrics; a phase has the step before it."""
    step, rows = 0, []
    for event in Run(folder).read_metrics():
        step = step if isinstance(event, PhaseStarted) else event.step
        rows.append((step, scalars(event, linear_recipe())))
    return rows


def test_a_tracker_receives_every_event_once_also_when_a_run_is_resumed(memory, tmp_path) -> None:
    with pytest.raises(InterruptedError):
        track("memory", tmp_path, pipelines=(Stopping(7), data()[1]))
    track("memory", tmp_path, resume=True)
    stopped, resumed = memory.runs
    assert (stopped.failed, resumed.failed) == (True, False)
    assert resumed.rows == expected(tmp_path)
    assert stopped.rows == resumed.rows[: len(stopped.rows)]
    assert {name for _, values in resumed.rows for name in values} == {
        *("phase", "loss/step", "accuracy/step", "learning_rate/head", "learning_rate/all"),
        *("loss/training", "loss/validation", "accuracy/training", "accuracy/validation"),
        "accuracy/validation_class_mean",
    }


@pytest.mark.parametrize("method", ["log", "finish"])
def test_training_goes_on_if_a_tracker_fails(method: str, memory, monkeypatch, tmp_path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(memory, method, fail)
    words = r"tracker memory stopped: ConnectionError: no server; the metrics are in .*jsonl"
    with pytest.warns(UserWarning, match=words) as warned:
        track("memory", tmp_path)
    assert len(warned) == 1
    assert len([row for row in expected(tmp_path) if "loss/step" in row[1]]) == STEPS


def test_trackers_that_cannot_start_are_refused_before_training(memory, monkeypatch, tmp_path):
    def fail(*_: Any) -> None:
        raise ConnectionError("no server")

    with pytest.raises(ValueError, match="a tracker must be one of wandb, mlflow, memory; got 'x'"):
        trackers.check_trackers(["wandb", "x"])
    monkeypatch.setitem(trackers.TRACKERS, "memory", fail)
    with pytest.raises(ValueError, match="memory must start a run; got ConnectionError: no server"):
        track("memory", tmp_path)
    assert not [*tmp_path.iterdir()]


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of an offline run: the format of LevelDB's log, after a header of 7 bytes."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if (left := 2**15 - place % 2**15) < 7:  # a record does not start at the end of a block
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        if place + 7 + length > len(data):  # it is being written
            return
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def read_wandb(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """The rows of an offline run: the values of one step are one row."""
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    rows, ended, until = [], False, time.monotonic() + 60
    while not ended and time.monotonic() < until:  # a process of wandb still writes
        rows = []
        for content in wandb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            items = record.history.item
            row = {(*item.nested_key, item.key)[0]: json.loads(item.value_json) for item in items}
            rows.append((record.history.step.num, row))
            ended = ended or record.WhichOneof("record_type") == "exit"
        time.sleep(0.1)
    return rows


def read_mlflow(folder: Path) -> list[tuple[int, dict[str, float]]]:
    import mlflow  # noqa: PLC0415

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("bilinear")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == (folder.name, "FINISHED")
    assert found.data.params["phases.0.groups.0.learning_rate"] == "0.5"
    return [
        (metric.step, {name: metric.value})
        for name in found.data.metrics
        for metric in client.get_metric_history(found.info.run_id, name)
    ]


READERS: dict[str, Callable[[Path], list[tuple[int, dict[str, float]]]]] = {
    "wandb": read_wandb,
    "mlflow": read_mlflow,
}


@pytest.mark.filterwarnings("ignore", "error:the tracker")  # others come from the packages
@pytest.mark.parametrize("name", READERS)
def test_a_tracker_offline_has_the_values_of_the_metrics(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    track(name, tmp_path / "run")
    found = {
        (step, key, value)
        for step, values in READERS[name](tmp_path / "run")
        for key, value in values.items()
        if not key.startswith("_")
    }
    assert found == {
        (step, key, value)
        for step, values in expected(tmp_path / "run")
        for key, value in values.items()
    }
