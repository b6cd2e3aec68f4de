"""An engine in NumPy, for tests of the training loop without a framework.

``logits = W (V · mean color) + b``: a user-defined backbone `V` and a classifier, with the SGD of
the other engines. Where `V` trains it updates a running mean, as a BatchNorm layer does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bilinear.models.streams import Streams
from bilinear.models.tensorfile import write_tensors
from bilinear.train import Recipe, train
from bilinear.train.parameter_groups import Plan
from bilinear.train.processes import Processes

from .training import CLASSES, data, linear_recipe

WIDTH = 5
STEPS = 15
"""Number of steps of `linear_recipe`."""


class Linear:
    streams = Streams((None,), (WIDTH,))
    num_classes = CLASSES
    preprocessing = None
    learned = frozenset({"backbone.weight", "classifier.weight", "classifier.bias"})

    def __init__(self, seed: int = 0, processes: Processes | None = None) -> None:
        self.processes = processes or Processes()
        rng = np.random.default_rng(seed)
        self.values = {
            "backbone.weight": rng.standard_normal((WIDTH, 3)),
            "backbone.running_mean": np.zeros(WIDTH),
            "classifier.weight": 0.01 * rng.standard_normal((CLASSES, WIDTH)),
            "classifier.bias": np.zeros(CLASSES),
        }
        self.momenta: dict[str, np.ndarray] = {}
        self.averages: dict[str, np.ndarray] = {}
        self.plan = Plan((), (), frozenset(), 0.0)

    def tensors(self) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in self.values.items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.values |= {name: np.array(value) for name, value in tensors.items()}

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        self.momenta = {name: np.zeros_like(self.values[name]) for name in plan.trained}
        self.averages = {}

    def buffers(self) -> dict[str, np.ndarray]:
        kinds = {"momentum": self.momenta, "average": self.averages}
        return {f"{k}.{name}": v.copy() for k, found in kinds.items() for name, v in found.items()}

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        for key, value in buffers.items():
            kind, _, name = key.partition(".")
            {"momentum": self.momenta, "average": self.averages}[kind][name] = np.array(value)

    def average(self, names: Sequence[str], decay: float) -> None:
        for name in names:
            before = self.averages[name] if decay else self.values[name]
            self.averages[name] = before + (1 - decay) * (self.values[name] - before)

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        colors, values = images.astype(np.float64).mean((1, 2)), self.values
        maps = colors @ values["backbone.weight"].T
        z = maps @ values["classifier.weight"].T + values["classifier.bias"]
        chances = np.exp(z - z.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        add = self.processes.add
        total = add(np.array(len(z)))
        loss = add(-np.log(chances[np.arange(len(z)), labels]).sum() / total)
        slope = (chances - np.eye(CLASSES)[labels]) / total
        gradients = {
            "backbone.weight": add((slope @ values["classifier.weight"]).T @ colors),
            "classifier.weight": add(slope.T @ maps),
            "classifier.bias": add(slope.sum(0)),
        }
        for name, group in self.plan.trained.items():
            decayed = gradients[name] + self.plan.decays[group] * values[name]
            self.momenta[name] = self.plan.momentum * self.momenta[name] + decayed
            values[name] = values[name] - rates[group] * self.momenta[name]
        if self.plan.statistics:
            mean = values["backbone.running_mean"]
            values["backbone.running_mean"] = 0.9 * mean + 0.1 * add(maps.sum(0) / total)
        return float(loss), int(add((z.argmax(1) == labels).sum()))

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        colors, values = images.astype(np.float64).mean((1, 2)), self.values
        maps = colors @ values["backbone.weight"].T
        return maps @ values["classifier.weight"].T + values["classifier.bias"]

    def save(self, path: str, **meaning: Any) -> None:
        if self.processes.rank == 0:
            write_tensors(f"save {path}", path, self.values, {"meaning": repr(meaning)})

    def environment(self) -> dict[str, Any]:
        return {"framework": "numpy"}


def finish(folder: Path, of: Recipe | None = None, *, resume: bool = False, **options: Any) -> Path:
    """Run or resume the training of a `Linear`."""
    options = {"engine": Linear(), "pipelines": data()} | options
    engine, pipelines = options.pop("engine"), options.pop("pipelines")
    return train(of or linear_recipe(), engine, *pipelines, folder, resume=resume, **options)
