"""Optimizers and averages: equal to their formulas in NumPy, in every framework, also resumed."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Engine, Group, Optimizer, Phase, Processes, named_recipe, override
from bilinear.train.averages import Averages
from bilinear.train.engines.parts import split_batch
from bilinear.train.parameter_groups import Plan, make_plan
from bilinear.train.run import read_tensors

from ..agreement import relative_error
from ..linear import Linear, finish
from ..subjects import PRESENT
from ..tolerances import RUN
from ..training import CLASSES, contents, data, engine, linear_recipe, recipe
from .test_losses import LABELS, started
from .test_resuming import Stopping

over_backends = pytest.mark.parametrize("backend", PRESENT)
BIAS, RATES, DECAY = "classifier.bias", (0.125, 0.0625, 0.0625, 0.03125), 0.25
ADAMW = Optimizer("adamw", betas=(0.5, 0.75), epsilon=0.125)
"""So far from the defaults that a β or an epsilon in a wrong place is no rounding error."""


def classifier_plan(one: Engine, optimizer: Optimizer) -> Plan:
    """A plan that trains the classifier alone."""
    phase = Phase("head", (Group("head", 0.0625),), 1, optimizer)
    plan = make_plan(phase, one.streams, list(one.tensors()), one.learned)
    only = tuple(name for name in plan.groups[0] if name.startswith("classifier."))
    return plan._replace(groups=(only,), decays=(DECAY,))


def bias_gradient(logits: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (p - np.eye(CLASSES)[LABELS]).mean(0)


def adamw(gradients: list[np.ndarray], start: np.ndarray) -> list[np.ndarray]:
    """The parameter after each step, by the formula of `Optimizer`."""
    w, m, v, (beta1, beta2), found = start, 0.0, 0.0, ADAMW.betas, []
    for t, (g, rate) in enumerate(zip(gradients, RATES, strict=True), 1):
        w = w - rate * DECAY * w
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + ADAMW.epsilon)
        w = w - rate * step
        found.append(w)
    return found


@over_backends
def test_adamw_follows_the_formula(backend: str) -> None:
    """Also if a new phase takes over the state after the second step."""
    one, before = started(backend)
    start = np.array([0.5, -0.25, 1.0])
    one.assign(before | {BIAS: start})
    plan = classifier_plan(one, ADAMW)
    one.begin(plan)
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((len(LABELS), 8, 8, 64))]
    gradients, found = [], []
    for step, rate in enumerate(RATES):
        if step == 2:
            state = one.buffers()
            assert {name.partition(".")[0] for name in state} == {"exp_avg", "exp_avg_sq", "step"}
            one.begin(plan)
            one.assign_buffers(state)
        gradients.append(bias_gradient(one.head_logits(maps)))
        one.head_step(maps, LABELS, [rate])
        found.append(one.tensors()[BIAS])
    assert one.buffers()[f"step.{BIAS}"] == len(RATES)
    for value, wanted in zip(found, adamw(gradients, start), strict=True):
        assert relative_error(value, wanted) <= RUN


def test_adamw_has_learning_rates_of_its_own() -> None:
    """Those of classifiers on unit descriptors would change each weight by 1 in every step."""
    optimizer = "phases.0.optimizer.name=adamw"
    changed = override(named_recipe("bcnn-two-phase"), [optimizer])
    assert [changed.learning_rates(phase)[0] for phase in changed.phases] == [0.001, 1.0]
    with pytest.raises(ValueError, match=r"phases\.0\.groups\.0\.learning_rate .* 0\.1 with adamw"):
        override(changed, ["phases.0.groups.0.learning_rate=1"])


# --- gradients of parts ---


@over_backends
def test_parts_of_a_batch_give_its_gradient(backend: str) -> None:
    """Up to rounding where BatchNorm layers are frozen; elsewhere each part has statistics."""
    (one, before), of = started(backend), recipe()
    (batch, *_) = data()[0].epoch(0)
    ends: dict[tuple[int, Any], dict[str, np.ndarray]] = {}
    correct = 0
    for phase, part in itertools.product((0, 1), (None, 2)):
        one.assign(before)
        plan = make_plan(of.phases[phase], one.streams, list(before), one.learned)
        one.begin(plan._replace(part=part))
        rates = [0.125, 0.015625][: len(plan.groups)]
        _, correct = one.train_step(batch.images, batch.labels, rates)
        ends[phase, part] = one.tensors()
    for name in plan.trained.keys() | plan.statistics:
        whole, parts = ends[0, None][name], ends[0, 2][name]
        assert relative_error(parts - before[name], whole - before[name]) <= RUN, name
    one.assign(before)
    one.begin(plan)
    for part in slice(0, 2), slice(2, 4):  # without a change of the parameters
        correct -= one.train_step(batch.images[part], batch.labels[part], [0.0, 0.0])[1]
    assert correct == 0
    for name in plan.statistics:
        assert relative_error(ends[1, 2][name], one.tensors()[name]) <= RUN, name
        assert relative_error(ends[1, None][name], one.tensors()[name]) > RUN, name


@pytest.mark.skipif("torch" not in PRESENT, reason="only PyTorch has several processes")
def test_batch_norm_of_several_processes_is_a_warning() -> None:
    one, of = engine("torch", processes=Processes(0, 2)), recipe()
    frozen, moving = (
        make_plan(phase, one.streams, list(one.tensors()), one.learned) for phase in of.phases
    )
    one.begin(frozen)
    with pytest.warns(UserWarning, match="normalize by the images of their process alone"):
        one.begin(moving)


@pytest.mark.parametrize("weights", [None, (0.5, 3.0, 1.5)])
def test_the_last_batch_has_parts_of_nearly_equal_size(weights: Any) -> None:
    plan = Plan((), (), frozenset(), 0.0, part=4, class_weights=weights)
    parts = split_batch(plan, np.array([0, 1, 2, 2, 1, 1, 0, 0, 2]))
    assert [part for part, _ in parts] == [slice(0, 3), slice(3, 6), slice(6, 9)]
    shares = [1 / 3] * 3 if weights is None else [5 / 15, 7.5 / 15, 2.5 / 15]
    np.testing.assert_allclose([share for _, share in parts], shares)


# --- averages ---


def decays(limit: float, steps: int) -> list[float]:
    return [min(limit, (1 + t) / (10 + t)) for t in range(steps)]


@over_backends
def test_averages_follow_the_formula(backend: str) -> None:
    """Of parameters and of BatchNorm statistics; also after they were saved and restored."""
    (one, before), of = started(backend), recipe()
    one.assign(before)
    plan = make_plan(of.phases[1], one.streams, list(before), one.learned)
    one.begin(plan)
    averages = Averages(one, 0.25)
    averages.begin(plan, new=True)
    (batch, *_), wanted = data()[0].epoch(0), before
    for step, decay in enumerate(decays(0.25, 4)):
        one.train_step(batch.images, batch.labels, [0.125, 0.015625])
        averages.update(step)
        now = one.tensors()
        wanted = {name: decay * wanted[name] + (1 - decay) * now[name] for name in before}
        if step == 1:
            buffers = one.buffers()
            one.begin(plan)
            one.assign_buffers(buffers)
    own = one.tensors()
    with averages.in_use():
        found = one.tensors()
        assert averages.own_tensors().keys() == own.keys()
    changed = {name for name in before if not np.array_equal(found[name], before[name])}
    assert changed == plan.trained.keys() | plan.statistics
    for name in before:
        assert relative_error(found[name], wanted[name]) <= 1e-14, name
        np.testing.assert_array_equal(one.tensors()[name], own[name], name)


def test_validation_and_models_use_the_averages(tmp_path: Path) -> None:
    """The loss of every validation, and the best and the last model."""

    class Watched(Linear):
        """It computes the averages of each epoch again."""

        def begin(self, plan: Plan) -> None:
            super().begin(plan)
            self.expected, self.count, self.steps = self.tensors(), 0, 0

        def train_step(self, images: Any, labels: Any, rates: Any) -> tuple[float, int]:
            if self.count == 0:
                self.expected = self.tensors()
            found = super().train_step(images, labels, rates)
            decay = min(0.5, (1 + self.count) / (10 + self.count))
            self.count += 1
            for name, value in self.values.items():
                self.expected[name] = decay * self.expected[name] + (1 - decay) * value
            return found

        def save(self, path: str, **meaning: Any) -> None:
            for name, value in self.values.items():
                np.testing.assert_allclose(value, self.expected[name], rtol=1e-14, atol=1e-16)
            super().save(path, **meaning)

    one = Watched()
    finish(tmp_path, linear_recipe(ema=0.5), engine=one)
    last = read_tensors(tmp_path / "last.safetensors", one.values)
    assert not np.array_equal(last["classifier.weight"], one.values["classifier.weight"])


@pytest.mark.parametrize("stop", [1, 4, 6, 8, 11])
def test_a_resumed_run_has_equal_averages(stop: int, tmp_path: Path) -> None:
    of = linear_recipe(ema=0.5)
    finish(tmp_path / "whole", of)
    with pytest.raises(InterruptedError):
        finish(tmp_path / "stopped", of, pipelines=(Stopping(stop), data()[1]), save_every=1)
    finish(tmp_path / "stopped", of, resume=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["ema=0.5", "phases.0.optimizer.name=adamw"])
def test_half_precision_parameters_have_no_averages(change: str) -> None:
    rates = [f"phases.{i}.groups.0.learning_rate=0.01" for i in (0, 1)]
    whole = override(recipe(), rates)
    override(whole, [change])
    with pytest.raises(ValueError, match=r"model\.dtype must be float32 or float64 with"):
        override(whole, [change, "model.dtype=bfloat16"])
