"""What constructors of layers share: checked arguments and initial parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ....contract import ACCUMULATION, check_argument, refuse
from ....contract.arguments import DATA_FORMAT
from ....contract.layers import argument_text, check_arguments


def set_arguments(layer: nn.Module, name: str, given: Mapping[str, Any]) -> None:
    """Check the arguments of a constructor, its ``locals()``, and make them attributes."""
    check_argument(name, "data_format", given["data_format"], DATA_FORMAT)
    for argument, value in check_arguments(name, given).items():
        setattr(layer, argument, value)
    layer.data_format = given["data_format"]


def text(layer: nn.Module, name: str) -> str:
    """The arguments of a layer for `extra_repr`."""
    shown = [argument_text(name, layer)]
    if layer.data_format != "channels_first":
        shown.append(f"data_format={layer.data_format!r}")
    return ", ".join(filter(None, shown))


def tensor_options(
    op: str, device: torch.device | str | int | None, dtype: torch.dtype | str | None
) -> dict[str, Any]:
    """The device and the floating dtype of new parameters, where None is PyTorch's default."""
    name = str(torch.get_default_dtype() if dtype is None else dtype).removeprefix("torch.")
    if name not in ACCUMULATION:
        requirement = f"dtype must be a torch.dtype or a name, one of {', '.join(ACCUMULATION)}"
        refuse(TypeError, op, requirement, repr(dtype))
    device = torch.get_default_device() if device is None else device
    return {"device": device, "dtype": getattr(torch, name)}


def parameter(value: np.ndarray, options: Mapping[str, Any]) -> nn.Parameter:
    """A learned parameter with this initial value."""
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(value)).to(**options))
