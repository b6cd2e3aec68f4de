"""The metrics of a run in Weights & Biases or MLflow, beside the files of the run.

A tracker receives the values that TensorBoard shows, under the same names. Each process that
continues a run starts another run of the tracker, with all metrics so far. If a tracker fails
after it was started, training goes on, and the metrics are in the folder of the run.
"""

import importlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .._require import require_packages
from ..contract import refuse
from .differences import fields
from .events import Metric, PhaseStarted
from .recipes import Recipe
from .run import Run
from .scalars import scalars

PROJECT = "bilinear"
"""Project or experiment, if the environment variables of the tracker name none."""


class Sink(Protocol):
    """A run of a tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def finish(self, *, failed: bool) -> None: ...


class WandbSink:
    """A run of Weights & Biases; ``WANDB_MODE=offline`` stores it in the folder of the run."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.folder.name,
            dir=run.folder,
            config=json.loads(recipe.to_json()),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MlflowSink:
    """A run of MLflow on the server or in the file that ``MLFLOW_TRACKING_URI`` names."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        self._client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        created = self._client.create_run(experiment, run_name=run.folder.name)
        self._id, self._waiting = created.info.run_id, []
        pairs = fields(json.loads(recipe.to_json()))
        parameters = [self._entities.Param(name, value) for name, value in pairs]
        for start in range(0, len(parameters), 100):  # the most that a server accepts
            self._client.log_batch(self._id, params=parameters[start : start + 100])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now, metric = int(1000 * time.time()), self._entities.Metric
        self._waiting += [
            metric(name.replace(":", "-"), x, now, step) for name, x in values.items()
        ]
        if "loss/validation" in values or len(self._waiting) >= 500:  # a request takes a while
            self._send()

    def finish(self, *, failed: bool) -> None:
        self._send()
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _send(self) -> None:
        if self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting)
        self._waiting = []


TRACKERS: dict[str, Callable[[Run, Recipe], Sink]] = {"wandb": WandbSink, "mlflow": MlflowSink}
"""Name of the tracker, of its package and of the extra -> a new run."""


class Tracker:
    """Call it with each event after it was logged."""

    def __init__(self, name: str, run: Run, recipe: Recipe) -> None:
        self._name, self._run, self._recipe = name, run, recipe
        self._has_started, self._step = False, 0
        try:
            self._sink: Sink | None = TRACKERS[name](run, recipe)
        except Exception as error:  # each version of a tracker has its own
            received = f"{type(error).__name__}: {' '.join(f'{error}'.split())}"
            remedy = "Log in to it, or set WANDB_MODE=offline or MLFLOW_TRACKING_URI."
            invariant = f"the tracker {name} must start a run"
            refuse(ValueError, "train", invariant, received, remedy)

    def __call__(self, event: Metric) -> None:
        # the first event, too, is in the metrics already
        events = [event] if self._has_started else self._run.read_metrics()
        self._has_started = True
        for each in events:
            self._step = self._step if isinstance(each, PhaseStarted) else each.step
            values = scalars(each, self._recipe)
            self._try(lambda sink, values=values: sink.log(self._step, values))

    def finish(self, *, failed: bool) -> None:
        self._try(lambda sink: sink.finish(failed=failed))

    def _try(self, action: Callable[[Sink], None]) -> None:
        try:
            if self._sink:
                action(self._sink)
        except Exception as error:
            self._sink = None
            text = f"the tracker {self._name} stopped: {type(error).__name__}: {error}"
            warnings.warn(f"{text}; the metrics are in {self._run.metrics}", stacklevel=2)


def check_trackers(names: Sequence[str]) -> None:
    """Raises: ValueError for an unknown tracker; ImportError if its package is not installed."""
    for name in names:
        if name not in TRACKERS:
            known, remedy = ", ".join(TRACKERS), "TensorBoard needs no tracker."
            refuse(ValueError, "train", f"a tracker must be one of {known}", repr(name), remedy)
        require_packages(f"the tracker {name}", (name,), name)


@contextmanager
def open_trackers(names: Sequence[str], run: Run, recipe: Recipe) -> Iterator[list[Tracker]]:
    """Start a run in each tracker, and finish it at the end of the block.

    Raises: ValueError where one cannot start.
    """
    if names:
        run.folder.mkdir(parents=True, exist_ok=True)
    failed, trackers = True, [Tracker(name, run, recipe) for name in names]
    try:
        yield trackers
        failed = False
    finally:
        for tracker in trackers:
            tracker.finish(failed=failed)
