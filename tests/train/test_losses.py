"""Label smoothing, class weights, clipped and accumulated gradients: equal to formulas."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train import Engine, Optimizer, Phase, train
from bilinear.train.batches import balanced_weights
from bilinear.train.parameter_groups import make_plan

from ..agreement import relative_error
from ..subjects import PRESENT
from ..tolerances import RUN
from ..training import (
    CLASSES,
    PHASES,
    data,
    engine,
    events,
    linear_recipe,
    recipe,
    shared_folder,
)

over_backends = pytest.mark.parametrize("backend", PRESENT)
LABELS, RATE = np.array([2, 0, 0, 1, 0]), 0.125
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "smooth": {"label_smoothing": 0.25},
    "weighted": {"class_weights": (0.5, 3.0, 1.5)},
    "both": {"label_smoothing": 0.25, "class_weights": (0.5, 3.0, 1.5)},
    "clipped": {"clip_norm": 0.0625},
    "within the limit": {"clip_norm": 1e6},
    "in parts": {"part": 2},
    "weighted, in parts": {"part": 2, "class_weights": (0.5, 3.0, 1.5)},
}


@functools.cache
def started(backend: str) -> tuple[Engine, dict[str, np.ndarray]]:
    """An engine and its initial tensors."""
    one = engine(backend)
    return one, one.tensors()


@functools.cache
def plain_losses(backend: str) -> list[float]:
    return losses(backend, shared_folder())


def losses(backend: str, folder: Path, phase: Phase = PHASES[0], **fields: Any) -> list[float]:
    """Of each step of a run."""
    of = recipe(phases=(phase,), **fields)
    train(of, engine(backend), *data(), folder, class_counts=[6, 3, 2])
    return [event["loss"] for event in events(folder, "step")]


def expected(logits: np.ndarray, options: dict[str, Any]) -> tuple[float, np.ndarray]:
    """The loss, and its gradient with respect to the logits, of PyTorch's documented formula."""
    smoothing = options.get("label_smoothing", 0.0)
    weights = np.array(options.get("class_weights", (1.0,) * CLASSES))
    targets = (1 - smoothing) * np.eye(CLASSES)[LABELS] + smoothing / CLASSES
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = weights[LABELS].sum()
    loss = -(weights * targets * np.log(p)).sum() / total
    slope = p * (weights * targets).sum(1, keepdims=True) - weights * targets
    return float(loss), slope / total


@over_backends
@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_of_the_classifier_follows_the_formula(backend: str, name: str) -> None:
    (one, before), options = started(backend), OPTIONS[name]
    one.assign(before)
    plan = make_plan(PHASES[0], one.streams, list(one.tensors()), one.learned)
    only = tuple(n for n in plan.groups[0] if n.startswith("classifier."))
    one.begin(plan._replace(groups=(only,), decays=(0.0,), momentum=0.0, **options))
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((len(LABELS), 8, 8, 64))]
    logits = one.head_logits(maps)
    loss, slope = expected(logits, options)
    found_loss, correct = one.head_step(maps, LABELS, [RATE])
    assert abs(found_loss - loss) <= RUN * loss
    assert correct == (logits.argmax(1) == LABELS).sum()
    found = {n: (before[n] - value) / RATE for n, value in one.tensors().items() if n in only}
    scale = 1.0
    if name == "clipped":
        norm = np.sqrt(sum((g**2).sum() for g in found.values()))
        limit = options["clip_norm"]
        assert abs(norm - limit) <= 1e-5 * limit  # norm / (norm + 1e-6)
        scale = np.linalg.norm(found["classifier.bias"]) / np.linalg.norm(slope.sum(0))
        assert scale < 0.5
    assert relative_error(found["classifier.bias"], scale * slope.sum(0)) <= RUN
    one.assign({n: 0 * before[n] for n in only})
    assert one.head_step(maps, LABELS, [RATE])[1] == (LABELS == 0).sum(), "equal logits"


@pytest.mark.parametrize(
    "changes", [{"label_smoothing": 0.25}, {"class_weights": "balanced"}, {"clip_norm": 0.0625}]
)
@over_backends
def test_the_loop_passes_the_options_on(backend: str, changes: dict, tmp_path: Path) -> None:
    """The first loss or the later ones differ from those of a run without the option."""
    phase, fields = PHASES[0], changes
    if "clip_norm" in changes:
        phase, fields = replace(phase, optimizer=Optimizer(**changes)), {}
    first, *later = losses(backend, tmp_path, phase, **fields)
    assert (first == plain_losses(backend)[0]) == ("clip_norm" in changes)
    assert later != plain_losses(backend)[1:]


def test_balanced_weights_have_equal_sums_of_all_classes() -> None:
    counts = [1, 2, 5]
    weights = balanced_weights(linear_recipe(class_weights="balanced"), counts, 3)
    np.testing.assert_allclose(np.array(weights) * counts, 8 / 3)
    assert balanced_weights(linear_recipe(), counts, 3) is None


@pytest.mark.parametrize("counts", [None, [3, 4], [3, 0, 4]])
def test_balanced_weights_need_images_of_every_class(counts: Any) -> None:
    with pytest.raises(ValueError, match="need the number of training images of each class; got"):
        balanced_weights(linear_recipe(class_weights="balanced"), counts, 3)
