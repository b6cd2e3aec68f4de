"""Training trajectories: from equal weights, on equal batches, all frameworks stay together.

torch's SGD with momentum, weight decay and a drop of the learning rate. Two correct runs diverge,
because the signed root is steep near 0 and a ReLU can switch either way: at a learning rate of
0.01 the distance between whole networks grows by a factor of 30 in every step, also in float64.
So the learning rates here are small, which only scales the change of the weights, and differences
are measured relative to that change.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bilinear.models import plans
from bilinear.testing.tolerances import UNIT_ROUNDOFF

from ..agreement import nudge
from ..subjects import PRESENT, driver
from ..tolerances import EARLY_RUN, RUN, SELF_DIVERGENCE

Tensors = dict[str, np.ndarray]

STEPS, HALF, DROP = 20, 10, 13  # the drop comes after the change of framework
EARLY = (1, 2, 3)
SGD = {"momentum": 0.9, "weight_decay": 5e-4}
CLASSES = 3
SEEDS = range(8)
ITSELF = "itself, perturbed by ulps"
PAIRS = list(itertools.combinations(PRESENT, 2))
needs_two = pytest.mark.skipif(not PAIRS, reason="needs two frameworks")


class Task(NamedTuple):
    """A model, its dtype and learning rate, and the number and size of the images in a batch."""

    backbone: str
    dtype: str
    rate: float
    batch: int
    size: int

    def model(self, backend: str) -> Any:
        return driver(backend).model(self.backbone, CLASSES, dtype=self.dtype)

    def start(self, seed: int) -> Tensors:
        shapes = self.backbone, None, plans.Head(CLASSES, plans.CHANNELS[self.backbone] ** 2)
        return plans.initial_tensors(*shapes, seed=seed, dtype=self.dtype)

    def batches(self, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        shape = self.batch, self.size, self.size, 3
        return [
            (rng.standard_normal(shape).astype(self.dtype), rng.integers(CLASSES, size=self.batch))
            for _ in range(STEPS)
        ]


class Run:
    """Training of a model in one framework."""

    def __init__(self, backend: str, model: Any, task: Task, seed: int = 0) -> None:
        self.driver, self.model, self.task = driver(backend), model, task
        self.batches = task.batches(seed)
        self.state, self.step = None, 0

    def train(self, until: int, nudges: np.random.Generator | None = None) -> None:
        """Train to step `until`; `nudges` perturbs images and parameters by one ulp before each."""
        for images, labels in self.batches[self.step : until]:
            rate = self.task.rate if self.step < DROP else self.task.rate / 10
            x = images if nudges is None else self._nudge(images, nudges)
            self.state = self.driver.sgd_step(self.model, x, labels, self.state, lr=rate, **SGD)
            self.step += 1

    def _nudge(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        own = self.driver.tensors(self.model).items()
        perturbed = {name: nudge(v, rng) for name, v in own if plans.is_parameter(name)}
        self.driver.assign(self.model, perturbed)
        return nudge(images, rng)

    def tensors(self) -> Tensors:
        """Parameters, statistics and momenta, named as in the portable file."""
        momenta = self.driver.momentum_arrays(self.model, self.state).items()
        tensors = self.driver.tensors(self.model) | {f"momentum.{k}": v for k, v in momenta}
        return {name: value.copy() for name, value in tensors.items()}

    def save(self, path: Path) -> None:
        momentum = self.driver.momentum(self.model, self.state)
        self.driver.save(self.model, path, momentum=momentum)

    @classmethod
    def resumed(cls, backend: str, path: Path, task: Task) -> "Run":
        model, buffers = driver(backend).load(path, momentum=True)
        run = cls(backend, model, task)
        run.state, run.step = driver(backend).resume(model, buffers, **SGD), HALF
        return run


def kind(name: str) -> str:
    if name.startswith("momentum."):
        return "momenta"
    return "parameters" if plans.is_parameter(name) else "statistics"


def divergence(
    first: Tensors, second: Tensors, start: Tensors, names: Iterable[str], stored: float = 0
) -> float:
    """``‖difference‖₂ / ‖change since the start‖₂`` of all `names` together; momenta start at 0.

    ``stored · ‖value‖₂`` is subtracted from the difference of each tensor.
    """
    differences, changes = [], []
    for name in names:
        value = first[name].astype(np.float64)
        difference = np.linalg.norm(value - second[name])
        differences.append(max(difference - stored * np.linalg.norm(value), 0.0))
        changes.append(np.linalg.norm(value - start.get(name, 0.0)))
    return float(np.linalg.norm(differences) / np.linalg.norm(changes))


WHOLE = {
    "resnet18": Task("resnet18", "float64", rate=1e-5, batch=4, size=32),
    "vgg16": Task("vgg16", "float64", rate=1e-5, batch=2, size=16),
}


@needs_two
@pytest.mark.parametrize("backbone", WHOLE)
def test_runs_agree_and_can_change_their_framework(backbone: str, tmp_path: Path) -> None:
    """In float64, in each parameter, momentum and statistic: after twenty steps in any framework,
    and after ten steps in one, the portable file, and ten in another."""
    task = WHOLE[backbone]
    start, ends = task.start(0), {}
    for backend in PRESENT:
        run = Run(backend, task.model(backend), task)
        run.train(HALF)
        run.save(tmp_path / backend)
        run.train(STEPS)
        ends[backend] = run.tensors()
    for a, b in PAIRS:
        assert_together(ends[a], ends[b], start, f"{a} against {b}")
    for writer, reader in zip(PRESENT, [*PRESENT[1:], PRESENT[0]], strict=True):
        run = Run.resumed(reader, tmp_path / writer, task)
        run.train(STEPS)
        for whole in (writer, reader):
            what = f"{writer}, then {reader}, against {whole}"
            assert_together(run.tensors(), ends[whole], start, what)


def assert_together(first: Tensors, second: Tensors, start: Tensors, what: str) -> None:
    """Frozen tensors are equal, and the others relative to their change."""
    __tracebackhide__ = True
    assert first.keys() == second.keys()
    for name in first:
        if np.array_equal(first[name], start.get(name)):
            np.testing.assert_array_equal(second[name], first[name], name)
            continue
        apart = divergence(first, second, start, [name])
        assert apart <= RUN, f"{what}: {name} differs by {apart:.3g} of its change"


NARROW = {
    "resnet18": Task("resnet18", "float32", rate=1e-4, batch=4, size=64),
    "vgg16": Task("vgg16", "float32", rate=1e-4, batch=4, size=32),
}


@pytest.fixture(params=NARROW)
def task(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A network with an eighth of the channels.

    The 640 steps of a whole one take ten minutes, and in float32 its distance grows by a factor
    of ten in each: its end would say nothing.
    """
    backbone = request.param
    narrow = tuple(map(_narrow, plans.BACKBONES[backbone]))
    monkeypatch.setitem(plans.BACKBONES, backbone, narrow)
    monkeypatch.setitem(plans.CHANNELS, backbone, plans.CHANNELS[backbone] // 8)
    return NARROW[backbone]


def _narrow(layer: plans.Layer) -> plans.Layer:
    widths = {k: v for k, v in layer._asdict().items() if k in {"inputs", "outputs", "channels"}}
    return layer._replace(**{k: v if v == 3 else v // 8 for k, v in widths.items()})


@needs_two
def test_float32_runs_diverge_no_faster_than_a_perturbed_run(task: Task) -> None:
    """In the median over the seeds; in the first steps they stay together."""
    models = {backend: task.model(backend) for backend in PRESENT}
    seeds = [divergences(models, task, seed) for seed in SEEDS]
    median = {key: float(np.median([apart[key] for apart in seeds])) for key in seeds[0]}
    for (of, step, who), apart in median.items():
        own = median[of, STEPS, ITSELF]
        bound = EARLY_RUN[of] if step in EARLY else SELF_DIVERGENCE * own
        if who != ITSELF:
            assert apart <= bound, f"{who}: {of} differ by {apart:.3g} after {step}, own {own:.3g}"


def divergences(models: dict[str, Any], task: Task, seed: int) -> dict[tuple[str, int, str], float]:
    """(kind of tensor, step, who) -> divergence, between frameworks and of one from itself.

    In the first steps one rounding of the parameters for each step is subtracted: it is not small
    beside so short a change.
    """
    start, rng = task.start(seed), np.random.default_rng(seed)
    runs = {name: snapshots(name, model, task, seed) for name, model in models.items()}
    first = PRESENT[0]
    both = {ITSELF: (runs[first], snapshots(first, models[first], task, seed, rng))}
    both |= {f"{a} against {b}": (runs[a], runs[b]) for a, b in PAIRS}
    result = {}
    for (who, (one, other)), step in itertools.product(both.items(), (*EARLY, STEPS)):
        for of in sorted({kind(name) for name in one[step]}):
            subtracted = step * UNIT_ROUNDOFF["float32"] * (of == "parameters" and step in EARLY)
            names = [name for name in one[step] if kind(name) == of]
            result[of, step, who] = divergence(one[step], other[step], start, names, subtracted)
    return result


def snapshots(
    backend: str, model: Any, task: Task, seed: int, nudges: np.random.Generator | None = None
) -> dict[int, Tensors]:
    """The tensors after the first steps and after the last one."""
    driver(backend).assign(model, task.start(seed))
    run, result = Run(backend, model, task, seed), {}
    for step in (*EARLY, STEPS):
        run.train(step, nudges)
        result[step] = run.tensors()
    return result
