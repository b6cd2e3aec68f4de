"""What stops a run, on a network of NumPy: it is said, and going on ends where no stop ends."""

import errno
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Recipe
from bilinear.train.run import Progress, Run

from ..linear import STEPS, Linear, finish
from ..training import Memory, Unreadable, contents, data, events, linear_recipe


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return contents(folder)


class Stopping(Memory):
    """One that is interrupted before a batch of the run, as by a thread of one's own."""

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
def test_resuming_after_any_step_ends_alike(
    save_every: int | None, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for stop in range(0, STEPS, {None: 1, 1: 4, 2: 3}[save_every]):
        folder = tmp_path / str(stop)
        pipelines = Stopping(stop), data()[1]
        with pytest.raises(InterruptedError):
            finish(folder, pipelines=pipelines, save_every=save_every)
        finish(folder, resume=True)
        assert contents(folder) == undisturbed, stop


def test_resuming_what_is_finished_changes_nothing(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    finish(tmp_path)
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


def test_what_came_after_the_state_is_done_again(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """As after a kill: metrics beyond the state, half a line, a model that is too new."""
    with pytest.raises(InterruptedError):
        finish(tmp_path, pipelines=(Stopping(7), data()[1]))
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"event":"step","phase":"all","epoch":0,"st')
    Linear(7).save(str(tmp_path / "phases" / "2-all.safetensors"))
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


def test_a_run_is_not_begun_twice_nor_resumed_as_another(tmp_path: Path) -> None:
    finish(tmp_path, data="sum")
    with pytest.raises(FileExistsError, match=re.escape(str(tmp_path))):
        finish(tmp_path)
    with pytest.raises(ValueError, match="the recipe must be that of the run"):
        finish(tmp_path, linear_recipe(seed=3), resume=True, data="sum")
    with pytest.raises(ValueError, match="the data must be that of the run, of checksum 'sum'"):
        finish(tmp_path, resume=True, data="other")
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"metrics\.jsonl must have at least"):
        finish(tmp_path, resume=True, data="sum")


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with Run(tmp_path).locked(), pytest.raises(BlockingIOError, match="must be of one process"):
        finish(tmp_path, resume=True)
    finish(tmp_path, resume=True)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)
    state = tmp_path / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="complete safetensors file"):
        finish(tmp_path, resume=True)
    state.write_bytes(whole.replace(b'\\"history\\"', b'\\"History\\"'))
    with pytest.raises(ValueError, match="the state must be one of this version"):
        finish(tmp_path, resume=True)


def test_another_environment_is_a_warning(tmp_path: Path) -> None:
    finish(tmp_path)
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"python": "2.7"}))
    with pytest.warns(UserWarning, match=r"begun elsewhere \(python differ\)"):
        finish(tmp_path, resume=True)


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_lost(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    broken = Unreadable(11, batch_size=4, seed=1)
    order = [i for batch in data()[0].epoch(0) for i in batch.indices]
    broken.broken = int(order[-1])  # in the last batch of the first epoch
    with pytest.raises(ValueError, match=r"class_2/broken\.jpg"):
        finish(tmp_path, pipelines=(broken, data()[1]))
    assert len(events(tmp_path, "step")) == 2
    with open(tmp_path / "metrics.jsonl", "rb") as file:
        before = file.read()
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed
    assert contents(tmp_path)["metrics.jsonl"].startswith(before)


def test_an_image_to_validate_on_loses_no_step_either(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Neither does a network that fails on one."""
    broken = Unreadable(6, batch_size=4, seed=2)
    broken.broken = int([*data()[1].epoch(0)][-1].indices[-1])

    class Failing(Linear):
        def evaluate(self, images: np.ndarray) -> np.ndarray:
            raise MemoryError("no room for the maps")

    for name, options, error in (
        ("image", {"pipelines": (data()[0], broken)}, ValueError),
        ("memory", {"engine": Failing()}, MemoryError),
    ):
        folder = tmp_path / name
        with pytest.raises(error, match=r"class_2/broken\.jpg|no room"):
            finish(folder, **options)
        before = contents(folder)["metrics.jsonl"]
        assert len(events(folder, "step")) == 3
        assert Run(folder).load(Linear().tensors(), _progress(folder))[0].step == 3
        finish(folder, resume=True)
        assert contents(folder) == undisturbed
        assert contents(folder)["metrics.jsonl"].startswith(before)


def test_a_loss_that_is_no_number_is_reported_with_its_step(tmp_path: Path) -> None:
    training, validation = data()
    training.images[5, 0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError) as caught:
        finish(tmp_path, pipelines=(training, validation), save_every=1)
    text = str(caught.value)
    step = int(re.search(r"^step (\d), epoch 0 of phase 'head'", text)[1])  # type: ignore[index]
    assert "got nan for the images" in text
    assert "5" in re.findall(r"images ([\d, ]+)", text)[0].split(", ")
    assert len(events(tmp_path, "step")) == step - 1
    assert Run(tmp_path).load(Linear().tensors(), _progress(tmp_path))[0].step == step - 1


def _progress(folder: Path) -> Progress:
    return Progress(Recipe.from_json((folder / "recipe.json").read_text()).checksum())


def test_weights_that_are_no_numbers_are_never_a_state(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """A gradient can be NaN where the loss was not: the state before that is kept."""

    class Breaking(Linear):
        steps = 0

        def train_step(self, images: Any, labels: Any, rates: Any) -> float:
            loss, self.steps = super().train_step(images, labels, rates), self.steps + 1
            if self.steps == 8:
                self.values["classifier.bias"] = self.values["classifier.bias"] * np.nan
            return loss

    with pytest.raises(ValueError, match=r"tensor 'classifier\.bias' must be finite; got nan"):
        finish(tmp_path, engine=Breaking(), save_every=1)
    assert Run(tmp_path).load(Linear().tensors(), _progress(tmp_path))[0].step == 7
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


def test_ctrl_c_during_validation(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """A real signal of this process: the epoch's steps are kept, its validation is done again."""

    class Interrupted(Linear):
        calls = 0

        def evaluate(self, images: np.ndarray) -> np.ndarray:
            self.calls += 1
            if self.calls == 3:  # of two batches for each epoch
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(images)

    with pytest.raises(KeyboardInterrupt, match="can be resumed at step 6"):
        finish(tmp_path, engine=Interrupted())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(events(tmp_path, "step")) == 6
    assert len(events(tmp_path, "epoch")) == 1
    finish(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed


def test_a_validation_that_is_no_number_is_reported(tmp_path: Path) -> None:
    training, validation = data()
    validation.images[0] = np.inf
    with (
        pytest.raises(FloatingPointError, match="validation loss must be finite"),
        np.errstate(invalid="ignore"),
    ):
        finish(tmp_path, pipelines=(training, validation))
