"""The functions of PyTorch as the networks of Keras call them. Maps are (N, h, w, C).

The older exporter of ONNX, which Keras uses, writes negative axes into its file, which is invalid.
"""

# ruff: noqa: F401 - the networks read these names from this module

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..plan_layers import Pair, batch_mean, count_values
from . import framework
from .framework import check_dtype


def convolve(x: Tensor, kernel: Tensor, bias: Any, stride: int, padding: Pair) -> Tensor:
    """Convolve with an HWIO kernel, padded equally on both sides of an axis."""
    oihw = kernel.permute(3, 2, 0, 1)
    return F.conv2d(x.movedim(3, 1), oihw, bias, stride, padding).movedim(1, 3)


def max_pool(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    return F.max_pool2d(x.movedim(3, 1), kernel, stride, padding).movedim(1, 3)


def resample(*maps: Tensor) -> tuple[Tensor, ...]:
    resampled = framework.resample(*(x.movedim(x.ndim - 1, 1) for x in maps))
    return tuple(x.movedim(1, x.ndim - 1) for x in resampled)
