"""The training loop on an engine in NumPy: what it writes, when it stops, what it refuses."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bilinear.data.images import Preprocessing
from bilinear.train import Group, Phase, Processes, Recipe, Schedule
from bilinear.train.batches import validate
from bilinear.train.engines import build
from bilinear.train.interrupts import deferred_interrupts
from bilinear.train.parameter_groups import Plan
from bilinear.train.run import read_tensors

from ..linear import STEPS, Linear, finish
from ..training import data, events, linear_recipe


def test_a_run_learns_and_logs_its_metrics(tmp_path: Path) -> None:
    best = finish(tmp_path, preprocessing=Preprocessing(32))
    steps, epochs = events(tmp_path, "step"), events(tmp_path, "epoch")
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    phases = ["head"] * 2 + ["all"] * 3
    assert [(e["phase"], e["epoch"]) for e in epochs] == [
        *zip(phases, (0, 1, 0, 1, 2), strict=True)
    ]
    for i, epoch in enumerate(epochs):
        of_epoch = steps[3 * i : 3 * i + 3]
        losses = [step["loss"] for step in of_epoch]
        assert epoch["training_loss"] == pytest.approx(np.average(losses, weights=[4, 4, 3]))
        correct = [round(step["accuracy"] * n) for step, n in zip(of_epoch, (4, 4, 3), strict=True)]
        assert epoch["training_accuracy"] == sum(correct) / 11
    assert epochs[-1]["validation_loss"] < epochs[0]["validation_loss"]
    assert epochs[-1]["validation_accuracy"] == 1
    assert best == tmp_path / "best.safetensors"
    recipe = Recipe.from_json((tmp_path / "recipe.json").read_text())
    assert recipe == linear_recipe()
    seen = json.loads((tmp_path / "environment.json").read_text())
    assert seen["packages"]["numpy"] == np.__version__
    assert seen["engine"] == {"framework": "numpy"}


def test_learning_rates_follow_the_schedule(tmp_path: Path) -> None:
    finish(tmp_path)
    rates = [step["rates"] for step in events(tmp_path, "step")]
    assert rates[:6] == [[0.5]] * 3 + [[0.25]] * 3
    wanted = [(1 + np.cos(np.pi * i / 9)) / 2 for i in range(9)]
    np.testing.assert_allclose(rates[6:], np.outer(wanted, [0.1, 0.05]))


class Forgetful(Linear):
    """It inverts its logits after the second epoch of a phase, at half the learning rate.

    `ends` and `starts` hold the tensors at the end of a phase and before the first step of the
    next one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[Any] = []
        self.ends: list[Any] = []

    def begin(self, plan: Plan) -> None:
        self.ends.append(self.tensors())
        super().begin(plan)

    def train_step(self, images: Any, labels: Any, rates: Any) -> tuple[float, int]:
        if len(self.starts) < len(self.ends):
            self.starts.append(self.tensors())
        self.sign = -1 if rates == [0.25] else 1
        return super().train_step(images, labels, rates)

    def evaluate(self, images: Any) -> np.ndarray:
        return self.sign * super().evaluate(images)


def test_the_next_phase_starts_from_the_best_or_the_last_epoch(tmp_path: Path) -> None:
    halved = Schedule("step", (1,), factor=0.5)
    phases = (
        Phase("head", (Group("head", 0.5),), 2, schedule=halved),
        Phase("again", (Group("head", 0.5),), 2, schedule=halved, start="best"),
        Phase("onward", (Group("head", 0.125),), 1, start="last"),
    )
    engine = Forgetful()
    finish(tmp_path, linear_recipe(phases=phases), engine=engine)
    assert [e["best"] for e in events(tmp_path, "epoch")][:4] == [True, False, True, False]
    files = [tmp_path / "phases" / name for name in ("1-head", "2-again")]
    first, second = (read_tensors(f.with_suffix(".safetensors"), engine.values) for f in files)
    assert same(engine.starts[1], first)
    assert not same(engine.ends[1], first)
    assert same(engine.starts[2], engine.ends[2])
    assert not same(engine.ends[2], second)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_phase_reinitializes_the_selected_tensors(tmp_path: Path) -> None:
    """Only these, from the seed of the recipe and the index of the phase."""
    phases = (
        Phase("head", (Group("head", 0.5),), 1),
        Phase("anew", (Group("head", 0.5),), 1, reinitialize="classifier"),
    )
    starts = []
    for seed in 0, 0, 1:
        engine, folder = Forgetful(), tmp_path / f"{len(starts)}"
        finish(folder, linear_recipe(phases=phases, seed=seed), engine=engine)
        starts.append(engine.starts[1])
        best = read_tensors(folder / "phases" / "1-head.safetensors", engine.values)
        assert np.array_equal(engine.starts[1]["backbone.weight"], best["backbone.weight"])
        assert not np.array_equal(engine.starts[1]["classifier.weight"], best["classifier.weight"])
        assert not engine.starts[1]["classifier.bias"].any()
    assert same(starts[0], starts[1])
    assert not same(starts[0], starts[2])
    wrong = (replace(phases[1], reinitialize="all"),)
    with pytest.raises(ValueError, match=r"can be reinitialized; got .*'backbone\.running_mean'"):
        finish(tmp_path / "wrong", linear_recipe(phases=wrong))


def test_early_stopping_ends_a_phase(tmp_path: Path) -> None:
    """Constant logits and a tiny learning rate: no epoch is better than the first."""
    phases = (
        Phase("still", (Group("head", 1e-30),), 9, patience=2),
        Phase("head", (Group("head", 0.5),), 1),
    )

    class Still(Linear):
        def evaluate(self, images: np.ndarray) -> np.ndarray:
            return 0 * super().evaluate(images)

    finish(tmp_path, linear_recipe(phases=phases), engine=Still())
    names = [event["phase"] for event in events(tmp_path, "epoch")]
    assert names == ["still"] * 3 + ["head"]


@pytest.mark.parametrize("monitor", ["loss", "accuracy", "mean_class_accuracy"])
def test_the_monitored_measure_chooses_the_best_epoch(monitor: str, tmp_path: Path) -> None:
    """On an engine whose accuracy and loss both grow."""

    class Opposed(Linear):
        epoch = 0

        def evaluate(self, images: np.ndarray) -> np.ndarray:
            labels = images.mean((1, 2)).argmax(1)
            self.epoch += 1
            right = np.arange(len(labels)) < self.epoch // 2
            chosen = np.where(right, labels, (labels + 1) % 3)
            return np.eye(3)[chosen] * 4.0**self.epoch

    one = Phase("head", (Group("head", 0.1),), 3)
    finish(tmp_path, linear_recipe(phases=(one,), monitor=monitor), engine=Opposed())
    epochs = events(tmp_path, "epoch")
    wanted = [True, False, False] if monitor == "loss" else [True, True, True]
    assert [e["best"] for e in epochs] == wanted, epochs


def test_of_equal_accuracies_the_smaller_loss_is_best(tmp_path: Path) -> None:
    """Patience still counts an epoch of equal accuracy as no improvement."""

    class Confident(Linear):
        """All its predictions are right; the loss of the third epoch is the smallest."""

        calls = 0

        def evaluate(self, images: np.ndarray) -> np.ndarray:
            confidence = (1.0, 3.0, 4.0, 2.0)[self.calls // 2]  # each epoch has two batches
            self.calls += 1
            return confidence * np.eye(3)[images.mean((1, 2)).argmax(1)]

    one = Phase("head", (Group("head", 0.1),), 9, patience=3)
    finish(tmp_path, linear_recipe(phases=(one,), monitor="accuracy"), engine=Confident())
    epochs = events(tmp_path, "epoch")
    assert [e["validation_accuracy"] for e in epochs] == [1.0] * 4
    assert [e["best"] for e in epochs] == [True, True, True, False]


def test_the_last_model_is_saved_when_the_run_ends(tmp_path: Path) -> None:
    """Also if the best model is an earlier one."""
    phases = (Phase("head", (Group("head", 0.5),), 2, schedule=Schedule("step", (1,), factor=0.5)),)
    engine = Forgetful()
    best = finish(tmp_path, linear_recipe(phases=phases), engine=engine)
    last = read_tensors(tmp_path / "last.safetensors", engine.values)
    assert same(last, engine.tensors())
    assert not same(last, read_tensors(best, engine.values))


# --- errors before anything is computed ---


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    training, validation = data()
    training.labels[0] = 3
    with pytest.raises(ValueError, match=r"labels must be 0 to 2; got \d to 3"):
        finish(tmp_path, pipelines=(training, validation))


def test_preprocessing_must_match_the_pretrained_weights(tmp_path: Path) -> None:
    class Pretrained(Linear):
        preprocessing = Preprocessing(224)

    caffe = Preprocessing(32, mean=(0.4, 0.45, 0.48), std=(1.0, 1.0, 1.0))
    for own in None, caffe:
        with pytest.raises(ValueError, match=r"must have the mean \(0.485"):
            finish(tmp_path, engine=Pretrained(), preprocessing=own)
    assert not list(tmp_path.iterdir())
    finish(tmp_path, engine=Pretrained(), preprocessing=Preprocessing(32))


def test_a_recipe_for_another_model_is_refused_before_the_run(tmp_path: Path) -> None:
    first, second = linear_recipe().phases
    for change in (
        {"groups": (Group("backbone.layer9", 0.1),)},
        {"reinitialize": "backbone.layer9"},
    ):
        phases = (first, replace(second, **change))
        with pytest.raises(ValueError, match=r"got 'backbone\.layer9'"):
            finish(tmp_path, linear_recipe(phases=phases))
    empty, validation = data()
    empty.labels = empty.labels[:0]
    with pytest.raises(ValueError, match="training must have a batch"):
        finish(tmp_path, pipelines=(empty, validation))
    with pytest.raises(ValueError, match="framework must be one of 'torch'"):
        build("theano", linear_recipe(), 3)
    assert not list(tmp_path.iterdir())


def test_validation_computes_the_formulas_over_batches_of_any_size() -> None:
    rng = np.random.default_rng(0)
    logits, labels = 50 * rng.standard_normal((40, 7)).astype("f"), rng.integers(7, size=40)
    z = logits.astype(np.longdouble)
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(40), labels]
    parts = slice(13), slice(13, 40)
    split = [SimpleNamespace(labels=labels[i], logits=logits[i]) for i in parts]
    read: Any = [(batch, len(batch.labels)) for batch in split]
    calls, seen = (lambda batch: batch.logits), []
    found = validate(read, 7, Processes(), calls, seen.append, lambda: None)
    (loss, accuracy, class_accuracy), counts = found
    assert loss == pytest.approx(float(losses.mean()), rel=1e-12)
    assert accuracy == np.mean(logits.argmax(1) == labels)
    right = logits.argmax(1) == labels
    of_classes = [right[labels == k].mean() for k in range(7) if (labels == k).any()]
    assert class_accuracy == pytest.approx(np.mean(of_classes), rel=1e-12)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=7))
    assert seen == [13, 40]


def test_other_threads_have_no_interrupts_to_defer() -> None:
    def work() -> bool:
        with deferred_interrupts() as interrupted:
            return interrupted()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() is False
