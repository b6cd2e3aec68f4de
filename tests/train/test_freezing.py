"""Verified freezing: after the first step of a phase, what moved is what its plan says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Group, Phase, parts, train

from ..linear import Linear, finish
from ..subjects import PRESENT, driver
from ..training import CLASSES, data, engine, events, linear_recipe, recipe


class MovesFrozen(Linear):
    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        loss = super().train_step(images, labels, rates)
        weight = self.values["backbone.weight"]
        self.values["backbone.weight"] = np.where(weight == weight[0, 0], 2 * weight, weight)
        return loss


class DriftingStatistics(Linear):
    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        self.values["backbone.running_mean"] = self.values["backbone.running_mean"] + 1e-9
        return super().train_step(images, labels, rates)


class TrainsNothing(Linear):
    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        return super().train_step(images, labels, [0.0] * len(rates))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (MovesFrozen, "must not move; got 1 tensors that did, the first 'backbone.weight'"),
        (DriftingStatistics, "must not move; got 1 tensors that did, .*'backbone.running_mean'"),
        (TrainsNothing, "the group 'head' must train; got 2 parameters, of which none moved"),
    ],
)
def test_an_engine_that_trains_otherwise_is_caught(
    fault: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=message):
        finish(tmp_path, engine=fault())
    assert not (tmp_path / "best.safetensors").exists()
    assert events(tmp_path, "step") == []


def test_the_second_phase_is_checked_too(tmp_path: Path) -> None:
    class LaterFault(Linear):
        def begin(self, plan: parts.Plan) -> None:
            super().begin(plan._replace(statistics=frozenset()))
            self.later = len(plan.groups) == 2

        def train_step(self, images: Any, labels: Any, rates: Any) -> float:
            return super().train_step(images, labels, [0.0, rates[1]] if self.later else rates)

    with pytest.raises(RuntimeError, match="phase 'all': the group 'head' must train"):
        finish(tmp_path, engine=LaterFault())


class StillBackbone(Linear):
    """What it is told, but in the backbone."""

    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        weight = self.values["backbone.weight"]
        loss = super().train_step(images, labels, rates)
        self.values["backbone.weight"] = weight
        self.momenta.pop("backbone.weight", None)
        return loss


class StillStatistics(Linear):
    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        self.plan = self.plan._replace(statistics=frozenset())
        return super().train_step(images, labels, rates)


ALL = (Phase("all", (Group("all", 0.1),), 1),)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (StillBackbone, "the group 'all' must train; got 1 parameters of backbone, of which none"),
        (StillStatistics, "statistics of BatchNorms that train must move; got 1 of backbone, of"),
    ],
)
def test_a_part_of_a_group_that_stands_still_is_caught(
    fault: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=message):
        finish(tmp_path, linear_recipe(phases=ALL), engine=fault())
    assert events(tmp_path, "step") == []


def test_steps_too_small_to_round_are_steps(tmp_path: Path) -> None:
    """Of the backbone; the classifier's bias begins at 0 and moves by anything."""
    slow = (Phase("all", (Group("all", 1e-30),), 1),)
    one = Linear()
    weight = one.tensors()["backbone.weight"]
    finish(tmp_path, linear_recipe(phases=slow), engine=one)
    np.testing.assert_array_equal(one.tensors()["backbone.weight"], weight)


def test_a_classifier_of_zeros_may_begin(tmp_path: Path) -> None:
    """It lets no gradient through before it has moved itself."""
    one = Linear()
    one.values["classifier.weight"][:] = 0
    finish(tmp_path, linear_recipe(phases=ALL), engine=one)


@pytest.mark.skipif("torch" not in PRESENT, reason="of PyTorch")
@pytest.mark.parametrize("stream", ["backbone", "backbone_b"])
def test_a_stream_that_pytorch_leaves_frozen_is_caught(stream: str, tmp_path: Path) -> None:
    """As by a `requires_grad_(False)` that was left behind; the rest trains."""
    driver("torch")
    import torch  # noqa: PLC0415 (where it is there)

    from bilinear.train.engines.torch import BCNN, Engine  # noqa: PLC0415

    def network() -> Any:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())

    model = BCNN(network(), CLASSES, backbone_b=network(), channels=(4, 4))
    one: Any = Engine(model, device="cpu")
    begin = one.begin

    def left_frozen(plan: parts.Plan) -> None:
        begin(plan)
        getattr(model, stream).requires_grad_(False)

    one.begin = left_frozen
    message = f"the group 'all' must train; got 2 parameters of {stream}, of which none moved"
    with pytest.raises(RuntimeError, match=message):
        train(linear_recipe(phases=ALL), one, *data(), tmp_path)


@pytest.mark.skipif("torch" not in PRESENT, reason="of PyTorch")
def test_batch_norms_that_pytorch_leaves_in_evaluation_are_caught(tmp_path: Path) -> None:
    driver("torch")
    every = recipe(phases=(Phase("all", (Group("all", 0.015625),), 1),))
    one: Any = engine("torch", every)
    one._set_modes = one.model.eval
    with pytest.raises(RuntimeError, match=r"BatchNorms that train must move; got 10 of backbone"):
        train(every, one, *data(), tmp_path)
