"""The engines: a recipe trains alike in every framework, and freezes what it should."""

import functools
import importlib
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.models import plans
from bilinear.models.tensorfile import open_tensors
from bilinear.train import Group, Optimizer, Phase, Recipe, train
from bilinear.train.parameter_groups import make_plan, select_tensors
from bilinear.train.run import Progress, Run, read_tensors

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import RUN
from ..training import CLASSES, MODEL, contents, data, engine, events, recipe, shared_folder
from .test_resuming import Stopping
from .test_trajectories import assert_together

over_backends = pytest.mark.parametrize("backend", PRESENT)
PAIRS = list(itertools.combinations(PRESENT, 2))
COMPARED = ("step", "loss"), ("epoch", "training_accuracy"), ("epoch", "validation_loss")


fresh = functools.cache(engine)
"""An engine before its first step."""


@functools.cache
def finished_run(backend: str) -> Path:
    """The directory of an undisturbed run, shared by several tests."""
    folder = shared_folder()
    train(recipe(), engine(backend), *data(), folder)
    return folder


@functools.cache
def start() -> dict[str, np.ndarray]:
    head = plans.Head(CLASSES, 36, ((6, 64),))
    return plans.initial_tensors("resnet18", None, head, ("layer1",), seed=0, dtype="float64")


def state(backend: str) -> dict[str, np.ndarray]:
    with open_tensors(finished_run(backend) / "state.safetensors", "test") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict


@pytest.mark.skipif(not PAIRS, reason="needs two frameworks")
def test_runs_agree_between_frameworks() -> None:
    """In losses, training accuracies, and in each final tensor, relative to its change."""
    for a, b in PAIRS:
        for kind, of in COMPARED:
            first, second = (
                np.array([e[of] for e in events(finished_run(x), kind)]) for x in (a, b)
            )
            assert len(first) == {"step": 12, "epoch": 4}[kind]
            assert relative_error(first, second) <= RUN, f"{a} against {b}: {kind}"
        assert_together(state(a), state(b), start(), f"{a} against {b}")


@over_backends
def test_frozen_tensors_stay_equal_bit_by_bit(backend: str) -> None:
    """First everything but the head, then everything before the last block, statistics too."""
    end, names = state(backend), list(start())
    streams = fresh(backend).streams
    moving = select_tensors("last:1", streams, names)
    for name in names:
        assert np.array_equal(end[name], start()[name]) == (name not in moving), name
    head = select_tensors("head", streams, names)
    first = read_tensors(finished_run(backend) / "phases" / "1-head.safetensors", start())
    for name in names:
        assert np.array_equal(first[name], start()[name]) == (name not in head), name


@over_backends
def test_the_best_model_has_the_validation_accuracy_of_its_epoch(backend: str) -> None:
    model = driver(backend).load(finished_run(backend) / "best.safetensors")
    _, validation = data()
    (one, two) = validation.epoch(0)
    images = [batch.images.astype(np.float64) for batch in (one, two)]
    logits = [driver(backend).logits(model, x) for x in images]
    best = [event for event in events(finished_run(backend), "epoch") if event["best"]][-1]
    labels = np.concatenate([one.labels, two.labels])
    right = np.concatenate(logits).argmax(1) == labels
    assert right.mean() == best["validation_accuracy"]


@over_backends
def test_resuming_gives_equal_files(backend: str, tmp_path: Path) -> None:
    """After an interruption in the second phase."""
    with pytest.raises(InterruptedError):
        train(recipe(), engine(backend), Stopping(8), data()[1], tmp_path)
    train(recipe(), engine(backend), *data(), tmp_path, resume=True)
    assert contents(tmp_path) == contents(finished_run(backend))


OPTIONS = recipe(
    phases=(
        Phase(
            "last",
            (Group("head", 2.0**-7, 0.5), Group("last:1", 2.0**-12)),
            2,
            Optimizer("adamw", clip_norm=1.0),
        ),
    ),
    ema=0.5,
    accumulate=2,
    label_smoothing=0.125,
    monitor="mean_class_accuracy",
)


@functools.cache
def run_with_options(backend: str) -> Path:
    folder = shared_folder()
    train(OPTIONS, engine(backend, OPTIONS), *data(), folder)
    return folder


@pytest.mark.full
@pytest.mark.skipif(not PAIRS, reason="needs two frameworks")
def test_runs_with_all_options_agree() -> None:
    """In the losses and in each tensor of the averaged model, relative to its change."""
    for a, b in PAIRS:
        folders = [run_with_options(backend) for backend in (a, b)]
        for kind, of in COMPARED:
            first, second = (np.array([e[of] for e in events(x, kind)]) for x in folders)
            assert relative_error(first, second) <= RUN, f"{a} against {b}: {kind}"
        last = [read_tensors(folder / "last.safetensors", start()) for folder in folders]
        assert_together(*last, start(), f"{a} against {b}")


@over_backends
def test_a_run_with_all_options_resumes(backend: str, tmp_path: Path) -> None:
    """Within an epoch: with the moments of AdamW and the averages."""
    with pytest.raises(InterruptedError):
        train(OPTIONS, engine(backend, OPTIONS), Stopping(4), data()[1], tmp_path)
    train(OPTIONS, engine(backend, OPTIONS), *data(), tmp_path, resume=True)
    assert contents(tmp_path) == contents(run_with_options(backend))


@pytest.mark.skipif(not PAIRS, reason="needs two frameworks")
def test_a_run_can_change_its_framework_between_phases(tmp_path: Path) -> None:
    """The phase of the head in one framework, the next in another, with equal losses."""
    whole = recipe()
    for writer, reader in zip(PRESENT, [*PRESENT[1:], PRESENT[0]], strict=True):
        folder, first = tmp_path / writer, engine(writer)
        with pytest.raises(InterruptedError):
            train(whole, first, Stopping(6), data()[1], folder)
        progress, _, _ = Run(folder).load(first.tensors(), Progress(whole.checksum()), whole)
        assert (progress.phase, progress.step) == (1, 6)
        with pytest.warns(UserWarning, match="started elsewhere"):
            train(whole, engine(reader), *data(), folder, resume=True)
        losses = [event["loss"] for event in events(folder, "step")]
        wanted = [event["loss"] for event in events(finished_run(reader), "step")]
        assert relative_error(np.array(losses), np.array(wanted)) <= RUN


# --- options of single engines ---

torch_only = pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch is not installed")
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def first_losses(of: Recipe, backend: str, **options: Any) -> np.ndarray:
    """The losses of the first two steps of the last phase."""
    trained = engine(backend, of, **options)
    trained.begin(make_plan(of.phases[1], trained.streams, list(start()), trained.learned))
    batch, *_ = data()[0].epoch(0)
    rates = [0.125, 0.015625]
    losses = [trained.train_step(batch.images, batch.labels, rates)[0] for _ in range(2)]
    assert {value.dtype.name for value in trained.tensors().values()} == {of.model.dtype}
    return np.array(losses)


@torch_only
def test_autocast_keeps_the_dtype_and_nearly_the_loss() -> None:
    """bfloat16 has 8 bits: logits below 1 and their losses have errors of a few 2⁻⁸."""
    narrow = recipe(model=replace(MODEL, dtype="float32"))
    mixed, whole = (first_losses(narrow, "torch", amp=amp) for amp in ("bfloat16", None))
    assert 0 < relative_error(mixed, whole) < 8 * 2.0**-8
    with pytest.raises(ValueError, match="amp must be None or 'bfloat16'; got 'float16'"):
        engine("torch", amp="float16")


@torch_only
@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_an_unavailable_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=rf"device must be one that .*; got '{device}' \(\w+"):
        engine("torch", device=device)


@pytest.mark.skipif(not THOROUGH, reason="compilation takes minutes")
@pytest.mark.parametrize(
    ("backend", "option"),
    [(b, o) for b, o in (("torch", "compile"), ("tensorflow", "jit_compile")) if b in PRESENT],
)
def test_compiled_engines_agree_with_eager_ones(backend: str, option: str) -> None:
    compiled, plain = (first_losses(recipe(), backend, **{option: on}) for on in (True, False))
    assert relative_error(compiled, plain) <= RUN


@torch_only
def test_a_parameter_may_get_its_first_gradient_after_others() -> None:
    """In one group: it then follows the formula, and resumes with the same bits."""
    (batch, *_), of = data()[0].epoch(0), recipe()
    engines: list[Any] = [engine("torch") for _ in range(3)]
    for one in engines:
        names = list(one.tensors())
        one.begin(make_plan(of.phases[0], one.streams, names, one.learned))
    whole, unfused, resumed = engines
    unfused.optimizer.param_groups[0]["fused"] = False
    maps, rates = whole.maps(batch.images), (0.125,)
    for one in whole, unfused:
        one.model.classifier.bias.requires_grad_(False)
        one.head_step(maps, batch.labels, rates)
        one.model.classifier.bias.requires_grad_(True)
    assert "momentum.classifier.bias" not in whole.buffers()
    resumed.assign(whole.tensors())
    resumed.assign_buffers(whole.buffers())
    for _ in range(2):
        for one in engines:
            one.head_step(maps, batch.labels, rates)
    for name, value in whole.tensors().items():
        assert relative_error(value, unfused.tensors()[name]) <= RUN, name
        np.testing.assert_array_equal(value, resumed.tensors()[name], name)
    assert not np.array_equal(whole.tensors()["classifier.bias"], start()["classifier.bias"])


def float32_products(backend: str) -> tuple[Any, Any, Any]:
    """The setter of a framework's precision, its present value, and another value."""
    module = importlib.import_module(backend)
    if backend == "torch":
        now = module.get_float32_matmul_precision()
        return module.set_float32_matmul_precision, now, "high" if now == "highest" else "highest"
    if backend == "tensorflow":
        options = module.config.experimental
        now = options.tensor_float_32_execution_enabled()
        return options.enable_tensor_float_32_execution, now, not now
    switch = functools.partial(module.config.update, "jax_default_matmul_precision")
    return switch, module.config.jax_default_matmul_precision, "tensorfloat32"


@over_backends
def test_the_environment_has_version_and_precision(backend: str) -> None:
    """A run records it, and a feature cache has it in its keys."""
    one, (switch, before, other) = fresh(backend), float32_products(backend)
    found = []
    try:
        for position in other, before, other:
            switch(position)
            found.append(one.environment())
    finally:
        switch(before)
    assert found[0] == found[2] != found[1]
    assert found[0] == json.loads(json.dumps(found[0]))
    assert found[0]["version"] == importlib.import_module(backend).__version__


@over_backends
def test_weights_with_a_pool_of_another_scale_are_refused(backend: str, tmp_path: Path) -> None:
    """The learning rates of a recipe that leaves the pool to a file are those of `BilinearPool`."""
    plain = replace(MODEL, pool="AveragePool")
    phases = (Phase("head", (Group("head"),), 1),)
    made, file = recipe(model=plain, phases=phases), str(tmp_path / "plain.safetensors")
    engine(backend, made).save(file, classes=None, preprocessing=None)
    engine(backend, recipe(model=replace(plain, weights=file), phases=phases))
    with pytest.raises(ValueError, match="got weights with AveragePool"):
        engine(backend, recipe(model=replace(MODEL, weights=file), phases=phases))


@torch_only
def test_cudnn_is_deterministic_while_a_model_runs() -> None:
    import torch  # noqa: PLC0415 (only where it is installed)

    from bilinear.models.torch.settings import precision  # noqa: PLC0415

    one: Any = fresh("torch")
    cudnn, found = torch.backends.cudnn, []
    before = cudnn.enabled, cudnn.deterministic, precision()

    def note(*_: Any) -> None:
        found.append((cudnn.enabled, cudnn.deterministic, precision()))

    handle = one.model.register_forward_hook(note)
    try:
        one.evaluate(next(data()[1].epoch(0)).images)
    finally:
        handle.remove()
    assert found == [(before[0], True, before[2])]
    assert before == (cudnn.enabled, cudnn.deterministic, precision())
