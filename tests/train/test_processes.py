"""Several processes train as one; threads stand in for them where no framework is needed."""

import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Group, Phase, Processes, Recipe, join, train
from bilinear.train.engines.parts import split_batch_of_all
from bilinear.train.parameter_groups import Plan
from bilinear.train.processes import COUNTS_OF_JAX

from ..agreement import relative_error
from ..linear import Linear, finish
from ..subjects import PRESENT
from ..tolerances import RUN
from ..training import MODEL, Memory, contents, data, engine, events, linear_recipe, recipe
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


class Together(Linear):
    """As if its tensors were sharded: all threads must call each method as often as the others."""

    def tensors(self) -> dict[str, np.ndarray]:
        self.processes.add(np.zeros(101))
        return super().tensors()

    def buffers(self) -> dict[str, np.ndarray]:
        self.processes.add(np.zeros(102))
        return super().buffers()

    def save(self, path: str, **meaning: Any) -> None:
        self.processes.add(np.zeros(103))
        super().save(path, **meaning)

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        self.processes.add(np.zeros(104))
        return super().evaluate(images)


def together(
    folder: Path,
    count: int,
    of: Recipe | None = None,
    pipelines: Callable[[tuple[int, int]], tuple[Memory, Memory]] = data,
    **options: Any,
) -> list[Any]:
    def work(processes: Processes) -> Path:
        part = processes.rank, processes.count
        engine, own = Together(processes=processes), pipelines(part)
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


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_torchrun_starts_processes_of_pytorch(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TF_CONFIG", *COUNTS_OF_JAX):
        monkeypatch.delenv(name, raising=False)
    with join(framework) as alone:
        assert alone == Processes()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=f"framework torch; got {framework} in 2 processes"):
        join(framework).__enter__()


@pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed")
@pytest.mark.parametrize("number", [None, "one"])
def test_processes_of_jax_need_an_address_and_two_numbers(
    number: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    if number is not None:
        monkeypatch.setenv("JAX_PROCESS_ID", number)
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    with pytest.raises(ValueError, match="JAX_PROCESS_ID must be an address with a port and two"):
        join("jax").__enter__()


@pytest.mark.parametrize("part", [None, 1])
def test_all_processes_compute_the_parts_of_a_batch_together(part: int | None) -> None:
    """The processes have 3, 0 and 1 images, and at most one in each part."""
    labels, weights = [[0, 1, 1], [], [2]], (0.5, 3.0, 1.5)
    plan = Plan((), (), frozenset(), 0.0, part=part, class_weights=weights)

    def work(processes: Processes) -> Any:
        own = np.array(labels[processes.rank], np.int64)
        return split_batch_of_all(plan, own, processes)

    found = threads(3, work)
    sizes = [(3, 0, 1)] if part is None else [(1, 0, 1), (1, 0, 0), (1, 0, 0)]
    for rank, (parts, weight) in enumerate(found):
        assert weight == 0.5 + 3.0 + 3.0 + 1.5
        assert [n for _, n in parts] == sizes
        own = [labels[rank][i] for i, _ in parts]
        assert [len(x) for x in own] == [n[rank] for n in sizes]
        assert [label for part in own for label in part] == labels[rank]


@pytest.mark.skipif("torch" not in PRESENT, reason="an option of PyTorch")
@pytest.mark.full
def test_a_classifier_that_cannot_be_sharded_is_refused() -> None:
    model, two = replace(MODEL, pool="LowRankBilinearClassifier"), Processes(0, 2)
    scores = recipe(model=model, phases=(Phase("head", (Group("head"),), 1),))
    for of, options, words in (
        (None, {}, "needs several processes; got one process"),
        (None, {"compile": True, "processes": two}, "cannot be combined; got both"),
        (scores, {"processes": two}, "needs a linear classifier; got a pool"),
    ):
        with pytest.raises(ValueError, match=words):
            engine("torch", of, shard_classifier=True, **options)
