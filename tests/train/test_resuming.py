"""A stopped run reports why, and its resumed end equals that of an undisturbed run."""

import errno
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Recipe
from bilinear.train.run import Progress, Run

from ..linear import STEPS, Linear, finish
from ..training import Memory, contents, data, events, full_disk, linear_recipe


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return contents(folder)


class Stopping(Memory):
    """A pipeline that raises an error before a given batch of the run."""

    def __init__(self, stop: int) -> None:
        super().__init__(11, batch_size=4, seed=1)
        self.left = stop

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for batch in super().epoch(epoch, start):
            if not self.left:
                raise InterruptedError(errno.EINTR, "stopped")
            self.left -= 1
            yield batch


@pytest.mark.parametrize("save_every", [None, 1, 2])
def test_resuming_after_any_step_gives_equal_files(
    save_every: int | None, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for stop in range(0, STEPS, {None: 1, 1: 4, 2: 3}[save_every]):
        folder = tmp_path / str(stop)
        pipelines = Stopping(stop), data()[1]
        with pytest.raises(InterruptedError):
            finish(folder, pipelines=pipelines, save_every=save_every)
        finish(folder, resume=True)
        assert contents(folder) == undisturbed, stop


def test_work_after_the_last_state_is_repeated(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """As after a kill: metrics beyond the state, half a line, and a newer model file."""
    with pytest.raises(InterruptedError):
        finish(tmp_path, pipelines=(Stopping(7), data()[1]))
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"event":"step","phase":"all","epoch":0,"st')
    Linear(7).save(str(tmp_path / "phases" / "2-all.safetensors"))
    for _ in range(2):  # then nothing is left to do
        finish(tmp_path, resume=True)
        assert contents(tmp_path) == undisturbed


def test_a_run_is_not_started_twice_or_resumed_with_another_recipe(tmp_path: Path) -> None:
    finish(tmp_path, data="sum")
    with pytest.raises(FileExistsError, match=re.escape(str(tmp_path))):
        finish(tmp_path)
    with pytest.raises(ValueError, match="the recipe must be that of the run"):
        finish(tmp_path, linear_recipe(seed=3), resume=True, data="sum")
    with pytest.raises(ValueError, match="the data must be that of the run, of checksum 'sum'"):
        finish(tmp_path, resume=True, data="other")
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"metrics\.jsonl must begin with the metrics"):
        finish(tmp_path, resume=True, data="sum")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Run(tmp_path).lock(), pytest.raises(BlockingIOError, match="by one process at a time"):
        finish(tmp_path, resume=True)
    finish(tmp_path, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted")
def test_a_run_stops_once_its_lock_file_was_deleted(tmp_path: Path) -> None:
    """Two processes must not both write: the folder is locked, too, where the system can."""
    training, validation = data()
    seen = []

    def watch(event: object, images: int) -> None:
        seen.append(event)
        if len(seen) == 3:
            (tmp_path / "lock").unlink()
            with pytest.raises(BlockingIOError), Run(tmp_path).lock():
                pass

    with pytest.raises(OSError, match=r"lock file was deleted; .*lock'$"):
        finish(tmp_path, pipelines=(training, validation), save_every=1, watch=watch)
    assert len(seen) == 3
    finish(tmp_path, resume=True)


def test_another_environment_is_a_warning(tmp_path: Path) -> None:
    finish(tmp_path)
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"python": "2.7"}))
    with pytest.warns(UserWarning, match=r"started elsewhere \(python: '2.7', now '3"):
        finish(tmp_path, resume=True)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
@pytest.mark.parametrize(("file", "every"), [("state.safetensors", 1), ("metrics.jsonl", None)])
def test_a_full_disk_is_reported_with_the_file_and_the_run_resumes(
    file: str, every: int | None, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Early in a run, when the state is larger than the metrics."""

    def watch(event: Any, images: int) -> None:
        if getattr(event, "step", 0) == 4:
            stack.enter_context(full_disk((tmp_path / "metrics.jsonl").stat().st_size + 30))

    with ExitStack() as stack, pytest.raises(OSError, match="File too large") as error:
        finish(tmp_path, save_every=every, watch=watch)
    assert str(tmp_path / file) in str(error.value)
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


def test_a_loss_that_is_not_finite_is_reported_with_its_step(tmp_path: Path) -> None:
    training, validation = data()
    training.images[5, 0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError) as caught:
        finish(tmp_path, pipelines=(training, validation), save_every=1)
    text = str(caught.value)
    step = int(re.search(r"^step (\d), epoch 1 of phase 'head'", text)[1])  # type: ignore[index]
    assert "got nan for the images" in text
    assert "5" in re.findall(r"images ([\d, ]+)", text)[0].split(", ")
    assert len(events(tmp_path, "step")) == step - 1
    assert saved_step(tmp_path) == step - 1
    training, validation = data()
    validation.images[0] = np.inf
    with (
        pytest.raises(FloatingPointError, match="validation loss must"),
        np.errstate(invalid="ignore"),
    ):
        finish(tmp_path / "other", pipelines=(training, validation))


def saved_step(folder: Path) -> int:
    """The number of steps in the state."""
    recipe = Recipe.from_json((folder / "recipe.json").read_text())
    return Run(folder).load(Linear().tensors(), Progress(recipe.checksum()), recipe)[0].step


def test_weights_that_are_not_finite_are_never_saved(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """A gradient can be NaN after a finite loss: the state before it remains."""

    class Breaking(Linear):
        steps = 0

        def train_step(self, images: Any, labels: Any, rates: Any) -> tuple[float, int]:
            found, self.steps = super().train_step(images, labels, rates), self.steps + 1
            if self.steps == 8:
                self.values["classifier.bias"] = self.values["classifier.bias"] * np.nan
            return found

    with pytest.raises(ValueError, match=r"tensor 'classifier\.bias' must be finite; got nan"):
        finish(tmp_path, engine=Breaking(), save_every=1)
    assert saved_step(tmp_path) == 7
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "name", [n for n in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, n) and os.name != "nt"]
)
def test_a_signal_in_validation_keeps_the_steps(
    name: str, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """A real one to this process: Ctrl-C, and those of clusters; the validation is repeated."""
    number = signal.Signals[name]
    before = signal.getsignal(number)

    class Interrupted(Linear):
        calls = 0

        def evaluate(self, images: np.ndarray) -> np.ndarray:
            self.calls += 1
            if self.calls == 3:  # each epoch validates two batches
                os.kill(os.getpid(), number)
            return super().evaluate(images)

    with pytest.raises(KeyboardInterrupt, match="can be resumed at step 6"):
        finish(tmp_path, engine=Interrupted())
    assert signal.getsignal(number) is before
    assert len(events(tmp_path, "step")) == 6
    assert len(events(tmp_path, "epoch")) == 1
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed
