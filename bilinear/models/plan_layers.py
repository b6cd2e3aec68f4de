"""The layers of a plan: data with torchvision's names, which each framework builds."""

from typing import NamedTuple

BN_MOMENTUM = 0.1
"""Running statistics: ``(1 − momentum) · old + momentum · new``, new with unbiased variance."""


class Conv(NamedTuple):
    """A square convolution, zero padded by `padding` on every side."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
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


Layer = Conv | BatchNorm | Relu | MaxPool | Block
