"""After the first step of a phase, exactly the tensors of its plan must have changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Group, Phase, train
from bilinear.train.parameter_groups import Plan

from ..linear import Linear, finish
from ..subjects import PRESENT, driver
from ..training import CLASSES, data, events, linear_recipe
from ..training import LINEAR_PHASES as PHASES

torch_only = pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch is not installed")


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


class StillBackbone(Linear):
    """It does not train the backbone."""

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


class LaterFault(Linear):
    """Its head does not train in the second phase."""

    def begin(self, plan: Plan) -> None:
        super().begin(plan._replace(statistics=frozenset()))
        self.later = len(plan.groups) == 2

    def train_step(self, images: Any, labels: Any, rates: Any) -> float:
        return super().train_step(images, labels, [0.0, rates[1]] if self.later else rates)


@pytest.mark.parametrize(
    ("fault", "phases", "message"),
    [
        (MovesFrozen, PHASES, "must not change; got 1 changed .*, the first 'backbone.weight'"),
        (DriftingStatistics, PHASES, "must not change; got 1 changed .*'backbone.running_mean'"),
        (TrainsNothing, PHASES, "the group 'head' must train; got 2 parameters, none of which"),
        (LaterFault, PHASES, "phase 'all': the group 'head' must train"),
        (StillBackbone, ALL, "the group 'all' must train; got 1 parameters of backbone, none of"),
        (StillStatistics, ALL, "BatchNorm layers that train must change; got 1 of backbone, none"),
    ],
)
def test_an_engine_that_ignores_the_plan_is_caught(
    fault: Any, phases: Any, message: str, tmp_path: Path
) -> None:
    """After its first step, which is not saved."""
    with pytest.raises(RuntimeError, match=message):
        finish(tmp_path, linear_recipe(phases=phases), engine=fault())
    assert len(events(tmp_path, "step")) == (6 if fault is LaterFault else 0)


def test_steps_too_small_to_change_a_rounded_value_are_accepted(tmp_path: Path) -> None:
    """In the backbone; the bias of the classifier starts at 0, so that any step changes it."""
    slow = (Phase("all", (Group("all", 1e-30),), 1),)
    one = Linear()
    weight = one.tensors()["backbone.weight"]
    finish(tmp_path, linear_recipe(phases=slow), engine=one)
    np.testing.assert_array_equal(one.tensors()["backbone.weight"], weight)


def test_a_classifier_of_zeros_is_accepted(tmp_path: Path) -> None:
    """Before its first step no gradient reaches the backbone."""
    one = Linear()
    one.values["classifier.weight"][:] = 0
    finish(tmp_path, linear_recipe(phases=ALL), engine=one)


@torch_only
@pytest.mark.parametrize("stream", ["backbone", "backbone_b"])
def test_a_stream_that_stays_frozen_in_pytorch_is_caught(stream: str, tmp_path: Path) -> None:
    """For example by a forgotten `requires_grad_(False)`; the rest trains."""
    driver("torch")
    import torch  # noqa: PLC0415 (only where it is installed)

    from bilinear.train.engines.torch import BCNN, Engine  # noqa: PLC0415

    def network() -> Any:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())

    model = BCNN(network(), CLASSES, backbone_b=network(), channels=(4, 4))
    one: Any = Engine(model, device="cpu")
    begin = one.begin

    def left_frozen(plan: Plan) -> None:
        begin(plan)
        getattr(model, stream).requires_grad_(False)

    one.begin = left_frozen
    message = f"the group 'all' must train; got 2 parameters of {stream}, none of which changed"
    with pytest.raises(RuntimeError, match=message):
        train(linear_recipe(phases=ALL), one, *data(), tmp_path)
