"""The layers of a plan: data with torchvision's names, which each framework builds."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..contract import check_batch_norm

BN_MOMENTUM = 0.1
"""Running statistics: ``(1 − momentum) · old + momentum · new``, new with unbiased variance."""

Pair = int | tuple[int, int]
"""A value for both axes, or one for the rows and one for the columns."""


def pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def count_values(values: Any) -> tuple[Any, int]:
    """The values of a batch (N, h, w, C), checked, and how many there are for each channel."""
    check_batch_norm(values.shape, 3)
    return values, math.prod(values.shape[:3])


def batch_mean(values: Any, count: Any) -> Any:
    """The mean of each channel; `count` is that of `count_values`."""
    del count
    return values.mean((0, 1, 2))


def last_part(name: str) -> str:
    """``conv1`` of ``layer1.0.conv1``."""
    return name.rpartition(".")[2]


class Conv(NamedTuple):
    """A convolution, zero padded by `padding` on both sides of an axis."""

    name: str
    inputs: int
    outputs: int
    kernel: Pair
    stride: int = 1
    padding: Pair = 0
    bias: bool = False


class BatchNorm(NamedTuple):
    """Batch normalization, which divides by √(variance + eps)."""

    name: str
    channels: int
    eps: float = 1e-5


class Relu(NamedTuple):
    name: str


class MaxPool(NamedTuple):
    """A square maximum, padded by -inf on every side; an incomplete last window is dropped."""

    name: str
    kernel: int
    stride: int
    padding: int = 0


class AveragePool(NamedTuple):
    """A square mean with stride 1, zero padded; the zeros count."""

    name: str
    kernel: int
    padding: int


class Unit(NamedTuple):
    """A convolution, BatchNorm and a ReLU."""

    name: str
    inputs: int
    outputs: int
    kernel: Pair
    stride: int = 1
    padding: Pair = 0

    @property
    def layers(self) -> tuple[Conv, BatchNorm, Relu]:
        conv = Conv(f"{self.name}.conv", *self[1:])
        return conv, BatchNorm(f"{self.name}.bn", self.outputs, 1e-3), Relu(f"{self.name}.relu")


class Mixed(NamedTuple):
    """Paths from one map, whose results are concatenated along the channels."""

    name: str
    inputs: int
    paths: "tuple[Path, ...]"

    @property
    def outputs(self) -> int:
        return sum(_outputs(path, self.inputs) for path in self.paths)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """All units, in torchvision's order."""
        return tuple(_units(self.paths))


Step = Unit | MaxPool | AveragePool
Path = tuple[Step | Mixed, ...]
"""Steps in their order; `Mixed` in a path has no name."""


def _outputs(path: Path, inputs: int) -> int:
    for step in path:
        inputs = step.outputs if isinstance(step, (Unit, Mixed)) else inputs
    return inputs


def _units(paths: Sequence[Path]) -> list[Unit]:
    found: list[Unit] = []
    for step in (step for path in paths for step in path):
        found += [step] if isinstance(step, Unit) else []
        found += _units(step.paths) if isinstance(step, Mixed) else []
    return found


def follow(
    paths: Sequence[Path],
    x: Any,
    apply: Callable[[Step, Any], Any],
    concatenate: Callable[[list[Any]], Any],
) -> Any:
    """Compute the result of `Mixed`, given how a framework applies a step."""
    results = []
    for path in paths:
        y = x
        for step in path:
            if isinstance(step, Mixed):
                y = follow(step.paths, y, apply, concatenate)
            else:
                y = apply(step, y)
        results.append(y)
    return concatenate(results)


class Block(NamedTuple):
    """``relu(residual(x) + shortcut(x))``; the shortcut is x or `downsample`."""

    name: str
    inputs: int
    outputs: int
    stride: int = 1
    width: int | None = None
    """Channels of the 3×3 convolution in a bottleneck; None for two 3×3 convolutions."""

    @property
    def residual(self) -> tuple[Conv | BatchNorm | Relu, ...]:
        """Convolutions, each with its BatchNorm, and ReLUs between them."""
        inputs, outputs, stride, width = self.inputs, self.outputs, self.stride, self.width
        sizes = (inputs, outputs, 3, stride), (outputs, outputs, 3, 1)
        if width is not None:
            sizes = (inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)
        layers: list[Conv | BatchNorm | Relu] = []
        for i, (before, after, kernel, step) in enumerate(sizes, 1):
            layers += [
                Conv(f"{self.name}.conv{i}", before, after, kernel, step, kernel // 2),
                BatchNorm(f"{self.name}.bn{i}", after),
                Relu(f"{self.name}.relu"),
            ]
        return tuple(layers[:-1])

    @property
    def downsample(self) -> tuple[Conv, BatchNorm] | None:
        if self.stride == 1 and self.inputs == self.outputs:
            return None
        conv = Conv(f"{self.name}.downsample.0", self.inputs, self.outputs, 1, self.stride)
        return conv, BatchNorm(f"{self.name}.downsample.1", self.outputs)

    @property
    def layers(self) -> tuple[Conv | BatchNorm | Relu, ...]:
        return *self.residual, *(self.downsample or ())


Layer = Conv | BatchNorm | Relu | MaxPool | Block | Unit | Mixed
