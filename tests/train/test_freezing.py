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


ALL = (Phase("all", (Group("all", 0.1),), 1),)
HEAD = ("classifier.weight", "classifier.bias")


class Faulty(Linear):
    """In plans of `groups` or more it does not train the tensors `still`, and changes `moved`."""

    def __init__(self, *, still: tuple[str, ...] = (), moved: str = "", groups: int = 1) -> None:
        super().__init__()
        self.still, self.moved, self.groups = still, moved, groups

    def train_step(self, images: Any, labels: Any, rates: Any) -> tuple[float, int]:
        before = self.tensors()
        found = super().train_step(images, labels, rates)
        if len(self.plan.groups) >= self.groups:
            self.values |= {name: before[name] for name in self.still}
            if "backbone.weight" in self.still:  # a head must change whatever its momentum
                del self.momenta["backbone.weight"]
            if self.moved:
                self.values[self.moved].flat[0] += 1e-9
        return found


@pytest.mark.parametrize(
    ("fault", "phases", "message"),
    [
        ({"moved": "backbone.weight"}, PHASES, "must not change; got 1 .* first 'backbone.weight'"),
        ({"moved": "backbone.running_mean"}, PHASES, "not change; got 1 .*'backbone.running_mean'"),
        ({"still": HEAD}, PHASES, "the group 'head' must train; got 2 parameters, none of which"),
        ({"still": HEAD, "groups": 2}, PHASES, "phase 'all': the group 'head' must train"),
        (
            {"still": ("backbone.weight",)},
            ALL,
            "the group 'all' must train; got 1 parameters of backbone, none of",
        ),
        (
            {"still": ("backbone.running_mean",)},
            ALL,
            "BatchNorm layers that train must change; got 1 of backbone, none",
        ),
    ],
)
def test_an_engine_that_ignores_the_plan_is_caught(
    fault: dict[str, Any], phases: Any, message: str, tmp_path: Path
) -> None:
    """After its first step, which is not saved."""
    with pytest.raises(RuntimeError, match=message):
        finish(tmp_path, linear_recipe(phases=phases), engine=Faulty(**fault))
    assert len(events(tmp_path, "step")) == (6 if "groups" in fault else 0)


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
