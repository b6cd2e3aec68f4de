"""Training stops when a network falls back to chance level, not when it overfits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Group, Phase
from bilinear.train.collapse import Chance, accuracy_before_collapse

from ..linear import Linear, finish
from ..training import data, events, linear_recipe

PHASES = (
    Phase("head", (Group("head", 0.5),), 6),
    Phase("all", (Group("head", 1.0), Group("all", 0.1)), 5),
)


class Opposite(Linear):
    """It inverts its logits from `epoch` of the phase "all" on."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.calls, self.good = 0, 2 * epoch  # an epoch has two batches

    def evaluate(self, images: Any) -> np.ndarray:
        self.calls += len(self.plan.groups) == 2
        return super().evaluate(images) * (-1 if self.calls > self.good else 1)


def test_a_collapse_in_the_first_epoch_of_a_phase_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"must not fall back.* rates were 1, 0.1"):
        finish(tmp_path, linear_recipe(phases=PHASES), engine=Opposite(0))
    assert len(events(tmp_path, "epoch")) == 6


def test_a_collapse_in_two_later_epochs_is_stopped(tmp_path: Path) -> None:
    """One is allowed, also before an interruption; the best model of the phase remains."""
    message = r"epoch 4 of .* must not fall back .*; got validation accuracy 100\.0%, now 0\.0% at"
    with pytest.raises(FloatingPointError, match=message):
        finish(tmp_path, linear_recipe(phases=PHASES), engine=Opposite(2))
    assert len(events(tmp_path, "epoch")) == 6 + 3
    with pytest.raises(FloatingPointError, match=message):
        finish(tmp_path, linear_recipe(phases=PHASES), engine=Opposite(0), resume=True)
    assert (tmp_path / "phases" / "2-all.safetensors").exists()


def test_a_network_that_only_predicts_the_class_frequencies_is_stopped(tmp_path: Path) -> None:
    """On unbalanced classes, where its loss is below that of as many balanced classes."""
    training, validation = data()
    frequent = validation.labels == np.bincount(validation.labels).argmax()
    chosen = np.repeat(np.arange(6), np.where(frequent, 12, 4))
    validation.images, validation.labels = validation.images[chosen], validation.labels[chosen]
    counts = np.bincount(validation.labels)
    prior = np.log(counts / counts.sum())
    assert Chance.of(counts).loss < np.log(3) - 0.1

    class Dead(Linear):
        def evaluate(self, images: Any) -> np.ndarray:
            z = super().evaluate(images)
            return z if len(self.plan.groups) == 1 else np.tile(prior, (len(z), 1))

    with pytest.raises(FloatingPointError, match="must not fall back"):
        finish(
            tmp_path, linear_recipe(phases=PHASES), engine=Dead(), pipelines=(training, validation)
        )


def test_chance_level_follows_its_formulas() -> None:
    assert Chance.of(np.full(8, 5)) == pytest.approx((np.log(8), 1 / 8, np.sqrt(7 / 64 / 40)))
    assert Chance.of(np.array([3, 0, 1])).loss == pytest.approx(np.log(4) - 0.75 * np.log(3))
    assert Chance.of(np.array([0, 4])) == (0, 1, 0)


EIGHT = Chance.of(np.full(8, 50))


@pytest.mark.parametrize(
    ("now", "history", "before"),
    [
        ((5.5, 0.45), [[0.3, 0.95], [4.0, 0.5]], None),  # overfits
        ((5.5, 0.45), [], [0.3, 0.95]),
        ((2.09, 0.12), [[2.05, 0.2], [2.08, 0.12]], None),  # has not learned yet
        ((1.9, 0.12), [[0.3, 0.95], [1.9, 0.12]], None),  # is wrong, but not confident
        ((2.5, 0.1), [[0.3, 0.95]], [0.2, 0.96]),  # the first such epoch
        ((9.0, 0.0), [], None),  # the first of all
        ((9.0, 0.0), [[8.0, 0.0]], None),
        ((9.0, 0.0), [[8.0, 0.0]], [5.5, 0.45]),  # the phase before was no better in loss
    ],
)
def test_other_histories_are_no_collapse(now: Any, history: Any, before: Any) -> None:
    assert accuracy_before_collapse(now, history, before, EIGHT) is None


def test_a_difference_of_few_images_is_no_collapse() -> None:
    """Three more errors in six images are within the noise."""
    few, many = (Chance.of(np.array([n, n])) for n in (3, 300))
    given: Any = ((0.8, 0.5), [[0.3, 0.9], [0.8, 0.5]], None)
    assert accuracy_before_collapse(*given, few) is None
    assert accuracy_before_collapse(*given, many) == 0.9
    assert accuracy_before_collapse((27.1, 0.0), [[0.0, 1.0], [27.1, 0.0]], None, few) == 1
