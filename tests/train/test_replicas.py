"""TensorFlow on several devices of one process, which are logical devices of the CPU here."""

import importlib
import json
from typing import Any

import numpy as np
import pytest

from bilinear.models.plan_layers import BatchNorm as Plan
from bilinear.train import Engine, Processes, build, join
from bilinear.train.parameter_groups import make_plan

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..together import PLAIN, RECIPES
from ..tolerances import RUN
from ..training import CLASSES, recipe

if "tensorflow" not in PRESENT:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {
        "part": 1,
        "class_weights": (0.5, 3.0, 1.5),
        "label_smoothing": 0.25,
        "clip_norm": 0.0625,
    },
    "adamw": {"adamw": (0.9, 0.999, 1e-8), "momentum": 0.0},
    "head": {},
}
RATES = [2.0**-7, 2.0**-9]


def started(devices: int = 1, **options: Any) -> Engine:
    tf = importlib.import_module("tensorflow")
    driver("tensorflow")  # makes four devices of the CPU, unless TensorFlow has started before
    if len(tf.config.list_logical_devices("CPU")) < devices:
        pytest.skip("TensorFlow started with one device")
    return build("tensorflow", recipe(model=PLAIN), CLASSES, devices=devices, **options)


def steps(engine: Engine, name: str) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Losses, and tensors, buffers and logits after batches of 5 images and one."""
    phase = RECIPES["options"].phases[name != "head"]
    plan = make_plan(phase, engine.streams, list(engine.tensors()), engine.learned)
    engine.begin(plan._replace(**OPTIONS[name]))
    rates = RATES[: len(plan.groups)]
    names, rng, losses = list(plan.trained), np.random.default_rng(0), []
    engine.average(names, 0.0)
    for count in 5, 1:
        images = rng.standard_normal((count, 16, 16, 3)).astype(np.float32)
        labels = rng.integers(CLASSES, size=count)
        if name == "head":
            losses.append(engine.head_step(engine.maps(images), labels, rates))
        else:
            losses.append(engine.train_step(images, labels, rates))
        engine.average(names, 0.5)
    found = engine.tensors() | engine.buffers() | {"logits": engine.evaluate(images)}
    if name == "head":
        found["head"] = engine.head_logits(engine.maps(images))
    return losses, found


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("sgd", 2),
        pytest.param("sgd", 4, marks=pytest.mark.full),
        pytest.param("adamw", 3, marks=pytest.mark.full),
        pytest.param("head", 2, marks=pytest.mark.full),
    ],
)
def test_devices_do_the_steps_of_one(name: str, devices: int) -> None:
    """One device has the only image of the second batch; the others have none."""
    one = started()
    start = one.tensors()
    losses, first = steps(one, name)
    others, second = steps(started(devices), name)
    for (loss, correct), (other, other_correct) in zip(losses, others, strict=True):
        assert abs(other - loss) <= RUN * loss
        assert correct == other_correct
    assert first.keys() == second.keys()
    for key, value in first.items():
        before = start.get(key, 0.0)
        if np.array_equal(value, before):  # frozen
            np.testing.assert_array_equal(second[key], before)
            continue
        assert relative_error(second[key] - before, value - before) <= RUN, key


def test_batch_norm_normalizes_by_the_images_of_all_replicas() -> None:
    """Forward and backward; the replicas have 2, 1 and no image."""
    started(3)
    tf: Any = importlib.import_module("tensorflow")

    from bilinear.models.keras.backbone import BatchNorm  # noqa: PLC0415
    from bilinear.train.processes.tensorflow import Replicas, mirror  # noqa: PLC0415

    rng = np.random.default_rng(3)
    x, cotangent = rng.standard_normal((2, 3, 2, 2, 5))
    parts = [slice(0, 2), slice(2, 3), slice(3, 3)]

    def of(strategy: Any, run: Any) -> list[np.ndarray]:
        with strategy.scope():
            layer = BatchNorm(Plan("bn", 5), dtype="float64")
            layer.build(None)

        def step(x: Any, cotangent: Any) -> list[Any]:
            sources = x, layer.gamma.value, layer.beta.value
            with tf.GradientTape() as tape:
                tape.watch(sources)
                y = layer(x, training=True)
            return [y, *tape.gradient(y, sources, cotangent)]

        y, dx, *of_weights = run(step)
        statistics = layer.moving_mean, layer.moving_variance
        return [y, dx, *of_weights, *(v.numpy() for v in statistics)]

    def whole(step: Any) -> list[np.ndarray]:
        return [found.numpy() for found in step(tf.constant(x), tf.constant(cotangent))]

    def divided(step: Any) -> list[np.ndarray]:
        given = replicas.divide(x, parts), replicas.divide(cotangent, parts)
        found = tf.function(lambda *own: replicas.of_each(replicas.run(step, *own)))(*given)
        y, dx, *of_weights = zip(*found, strict=True)
        sums = [np.sum([own.numpy() for own in parts], 0) for parts in of_weights]
        return [np.concatenate(y), np.concatenate(dx), *sums]

    strategy = mirror(3)
    replicas = Replicas(strategy)
    for one, other in zip(
        of(tf.distribute.get_strategy(), whole), of(strategy, divided), strict=True
    ):
        assert relative_error(other, one) <= RUN


def test_devices_that_cannot_train() -> None:
    started(2)
    with pytest.raises(
        ValueError, match="devices must be 1 to 4, the number of CPU devices; got 5"
    ):
        build("tensorflow", recipe(model=PLAIN), CLASSES, devices=5)
    tf: Any = importlib.import_module("tensorflow")
    processes: Any = importlib.import_module("bilinear.train.processes.tensorflow")
    with (
        pytest.raises(ValueError, match=r"every parameter must have entries; got the shape \(0, 3"),
        tf.variable_creator_scope(processes._create_variable),
    ):
        tf.Variable(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="all the GPUs that it sees; got 2 devices"):
        build("tensorflow", recipe(), CLASSES, devices=2, processes=processes.Workers())
    with pytest.raises(ValueError, match="XLA compiles steps of one device; got several devices"):
        started(2, jit_compile=True)


TASK = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    "given",
    [
        "worker",
        {"cluster": {"worker": ["a:1", "b:1"]}},
        {"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": TASK},
        {"cluster": {"worker": ["a:1", "b:1"]}, "task": TASK | {"index": 2}},
        {"cluster": {"chief": ["a:1"]}, "task": TASK},
    ],
)
def test_clusters_that_cannot_train(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(given))
    with pytest.raises(ValueError, match="TF_CONFIG must describe workers"):
        importlib.import_module("bilinear.train.processes.tensorflow").join(None).__enter__()


def test_a_cluster_of_one_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": TASK}))
    with join("tensorflow") as alone:
        assert alone == Processes()
