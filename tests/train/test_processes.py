"""Several processes train as one; threads stand in for them where no framework is needed."""

import errno
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Processes, Recipe, join, train

from ..agreement import relative_error
from ..linear import Linear, finish
from ..subjects import PRESENT
from ..tolerances import RUN
from ..training import Memory, contents, data, events, linear_recipe, shared_folder
from .test_resuming import Stopping


def threads(count: int, work: Callable[[Processes], Any]) -> list[Any]:
    """Call `work` in as many threads; returns their results or errors."""
    meeting, given = threading.Barrier(count, timeout=60), [np.zeros(0)] * count
    failures = iter(range(count))

    def add(rank: int, values: np.ndarray) -> np.ndarray:
        given[rank] = np.array(values)
        try:
            meeting.wait()
            alike = len({(x.shape, x.dtype) for x in given}) == 1
        except threading.BrokenBarrierError:
            raise ConnectionError("another thread has ended") from None
        assert alike, "arrays of one shape and dtype"
        total = sum(given[1:], given[0])
        with suppress(threading.BrokenBarrierError):  # all have the sum
            meeting.wait()
        return total

    def run(rank: int) -> Any:
        try:
            return work(Processes(rank, count, partial(add, rank), lambda: next(failures) == 0))
        except (Exception, KeyboardInterrupt) as error:
            meeting.abort()
            return error

    with ThreadPoolExecutor(count) as pool:
        return [*pool.map(run, range(count))]


def together(
    folder: Path,
    count: int,
    of: Recipe | None = None,
    pipelines: Callable[[tuple[int, int]], tuple[Memory, Memory]] = data,
    **options: Any,
) -> list[Any]:
    def work(processes: Processes) -> Path:
        part = processes.rank, processes.count
        engine, own = Linear(processes=processes), pipelines(part)
        return train(of or linear_recipe(), engine, *own, folder, **options)

    return threads(count, work)


def assert_near(folder: Path, other: Path) -> None:
    """Equal losses, accuracies and tensors, up to rounding."""
    for kind, of in ("step", "loss"), ("step", "accuracy"), ("epoch", "validation_loss"):
        first, second = (np.array([e[of] for e in events(x, kind)]) for x in (folder, other))
        assert relative_error(first, second) <= RUN, of
    ends = [states(x) for x in (folder, other)]
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        assert relative_error(value, ends[1][name]) <= RUN, name


def states(folder: Path) -> dict[str, np.ndarray]:
    from bilinear.models.tensorfile import open_tensors  # noqa: PLC0415

    with open_tensors(folder / "state.safetensors", "test") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_processes_follow_one(count: int, tmp_path: Path) -> None:
    """The last batch has 3 images: the fourth process has none of it."""
    finish(tmp_path / "one", linear_recipe(ema=0.5))
    ends = together(tmp_path / "all", count, linear_recipe(ema=0.5))
    assert ends == [tmp_path / "all" / "best.safetensors"] * count
    assert_near(tmp_path / "one", tmp_path / "all")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_error_of_one_process_stops_all_and_the_run_resumes(count: int, tmp_path: Path) -> None:
    """With as many processes, in the bits of an undisturbed run."""
    together(tmp_path / "undisturbed", 2)

    def stopping(part: tuple[int, int]) -> tuple[Memory, Memory]:
        pipelines = (Stopping(8) if part[0] else data()[0]), data()[1]
        for pipeline in pipelines:
            pipeline.part = part
        return pipelines

    found = together(tmp_path / "run", 2, pipelines=stopping)
    assert [(type(error), error.errno) for error in found] == [(InterruptedError, errno.EINTR)] * 2
    assert len(events(tmp_path / "run", "step")) == 8
    together(tmp_path / "run", count, resume=True)
    if count == 2:
        assert contents(tmp_path / "run") == contents(tmp_path / "undisturbed")
    assert_near(tmp_path / "run", tmp_path / "undisturbed")


def test_processes_must_have_one_recipe_and_a_new_run(tmp_path: Path) -> None:
    def work(processes: Processes) -> Path:
        of = linear_recipe(seed=processes.rank)
        return train(of, Linear(processes=processes), *data((processes.rank, 2)), tmp_path)

    first, second = threads(2, work)
    assert isinstance(first, ConnectionError)
    assert isinstance(second, ValueError)
    assert "all processes must have the same recipe" in str(second)
    found = together(tmp_path, 2)
    assert {type(error) for error in found} == {FileExistsError}
    assert len({str(error) for error in found}) == 1


def test_only_process_0_reports(tmp_path: Path) -> None:
    seen = []
    together(tmp_path, 2, watch=lambda *_: seen.append(threading.get_ident()))
    assert len({*seen}) == 1


def test_only_pytorch_has_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with join("jax") as alone:
        assert alone == Processes()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="need the framework torch; got jax in 2 processes"):
        join("jax").__enter__()


# --- processes of PyTorch ---

torch_only = pytest.mark.skipif(
    "torch" not in PRESENT or not hasattr(os, "fork"), reason="torch, and children are forked"
)


TASKS = ["trajectories options 1,2", "kill bcnn-two-phase 2", "stop bcnn-two-phase SIGUSR1 1"]
"""All in one process that imports PyTorch."""
WITH_ALL = [
    "trajectories options 1,3,4",
    "trajectories plain,adamw 1,2,4",
    "kill bcnn-two-phase 16",
    "kill cached 4",
    "stop cached SIGTERM 0",
]


@functools.cache
def forked(*tasks: str) -> tuple[Path, dict[str, Any]]:
    """The folder of the runs, and the reports of `tests.together`."""
    folder = shared_folder()
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.together", str(folder), *tasks],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    print(result.stderr)  # shown if the test fails
    return folder, dict(zip(tasks, json.loads(result.stdout.splitlines()[-1]), strict=True))


tasks = pytest.mark.parametrize(
    "tasks", [tuple(TASKS), pytest.param(tuple(WITH_ALL), marks=pytest.mark.full)], ids=len
)


@torch_only
@tasks
def test_processes_of_pytorch_follow_one(tasks: tuple[str, ...]) -> None:
    """In float64: losses, parameters, momenta and averages, also where a process has no image."""
    folder, found = forked(*tasks)
    for task in tasks:
        match task.split():
            case ["trajectories", names, counts]:
                for name, count in itertools.product(names.split(","), counts.split(",")):
                    assert found[task][f"{name} {count}"] == [0] * int(count)
                    assert_near(folder / name / "1", folder / name / count)


@torch_only
@tasks
def test_runs_on_images_resume_after_kills_and_signals(tasks: tuple[str, ...]) -> None:
    """With as many processes, in the bits of an undisturbed run; no process hangs."""
    folder, found = forked(*tasks)
    for task in tasks:
        match task.split():
            case ["kill", name, kills]:
                seen = found[task]
                assert seen["whole"] == seen["last"] == [0, 0]
                assert len(seen["ends"]) == int(kills)
                assert {-signal.SIGKILL, 2} == {code for codes in seen["ends"] for code in codes}
                for run in (folder / name).glob("killed-*"):
                    assert contents(run) == contents(folder / name / "whole")
            case ["stop", name, number, rank]:
                stopped, resumed = found[task]
                assert resumed == [0, 0]
                assert stopped[int(rank)] == 128 + signal.Signals[number]
                assert stopped[1 - int(rank)] in (2, 130)
                assert contents(folder / name / number) == contents(folder / name / "whole")
