"""One process trains on several devices: with the steps of one device."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bilinear.train import Engine, build
from bilinear.train.parameter_groups import make_plan

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..together import PLAIN, RECIPES
from ..tolerances import RUN
from ..training import recipe

pytestmark = pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed")
CLASSES = 4
OPTIONS: dict[str, dict[str, Any]] = {
    "weighted, in parts": {"part": 2, "class_weights": (0.5, 3.0, 1.5, 1.0)},
    "clipped": {"clip_norm": 0.0625},
    "smooth": {"label_smoothing": 0.25},
    "adamw": {"adamw": (0.9, 0.999, 1e-8)},
}
RATES = [2.0**-7, 2.0**-9]


def started(**options: Any) -> Engine:
    driver("jax")
    return build("jax", recipe(model=PLAIN), CLASSES, **options)


def two_steps(one: Engine, options: dict[str, Any]) -> dict[str, Any]:
    """Losses, tensors, buffers and averages after a batch of 5 images and one of 4."""
    of = RECIPES["options"]
    plan = make_plan(of.phases[1], one.streams, list(one.tensors()), one.learned)
    one.begin(plan._replace(**options))
    rng, names = np.random.default_rng(0), list(plan.trained)
    one.average(names, 0.0)
    found: dict[str, Any] = {"steps": []}
    for count in 5, 4:
        images = rng.standard_normal((count, 16, 16, 3)).astype(np.float32)
        found["steps"].append(one.train_step(images, rng.integers(CLASSES, size=count), RATES))
        one.average(names, 0.5)
        one.assign({"classifier.bias": one.tensors()["classifier.bias"] + 0.5})
    found["logits"] = one.evaluate(images)
    return found | one.tensors() | one.buffers()


def assert_equal_steps(options: dict[str, Any], **of_engine: Any) -> Any:
    first, second = started(), started(**of_engine)
    start = first.tensors()
    one, several = two_steps(first, options), two_steps(second, options)
    assert one.keys() == several.keys()
    for name, value in one.items():
        before = start.get(name, 0.0)
        if name != "steps" and not np.array_equal(value, before):
            assert relative_error(several[name] - before, value - before) <= RUN, name
    for (loss, correct), (found, found_correct) in zip(one["steps"], several["steps"], strict=True):
        assert abs(found - loss) <= RUN * loss
        assert correct == found_correct
    return second


@pytest.mark.parametrize("shard_classifier", [False, True])
def test_two_devices_do_the_steps_of_one(shard_classifier: bool) -> None:
    """The batches have 5 and 4 images, and parts of 2, 2 and 1."""
    options = OPTIONS["weighted, in parts"]
    several = assert_equal_steps(options, devices=2, shard_classifier=shard_classifier)
    of_first = several.devices.placed["['classifier.weight']"][1].addressable_data(0)
    assert of_first.shape[-1] == CLASSES // (1 + shard_classifier)


@pytest.mark.full
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("shard_classifier", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_devices_do_the_steps_of_one(name: str, shard_classifier: bool, devices: int) -> None:
    assert_equal_steps(OPTIONS[name], devices=devices, shard_classifier=shard_classifier)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"devices": 64}, "64 devices must exist in each process; got 4 of cpu"),
        ({}, {"shard_classifier": True}, "needs several devices; got one device"),
        ({}, {"devices": 3, "shard_classifier": True}, "got 4 classes, 3 devices. Use another"),
        (
            {"pool": "LowRankBilinearClassifier"},
            {"devices": 2, "shard_classifier": True},
            "needs a linear classifier",
        ),
    ],
)
def test_devices_that_cannot_train(changes: Any, options: Any, message: str) -> None:
    driver("jax")
    of = recipe(model=replace(PLAIN, **changes), phases=RECIPES["adamw"].phases)
    with pytest.raises(ValueError, match=message):
        build("jax", of, CLASSES, **options)
