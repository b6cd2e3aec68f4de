"""What saving, loading and building a B-CNN need of PyTorch (`models.framework.Framework`)."""

import argparse
import copy
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pickle import UnpicklingError
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from ..._files import check_uncompressed
from ...backends.torch import _tensors, layers
from ...backends.torch._fx import leaf
from ...contract import Spec, refuse

name = "torch"
module = nn.Module
pool_class = nn.Module
module_name = "torch.nn.Module"
channels_last = False
linear = "a torch.nn.Linear"

_WRAPPERS = {
    "AveragedModel": "module",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "ModelEma": "ema",
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "OptimizedModule": "_orig_mod",
}
"""Wrappers of PyTorch and timm, and the attribute that holds the model; the last is of compile."""


def check_dtype(op: str, dtype: str) -> None:
    """PyTorch has every dtype of a model."""


def layer(name: str, *, dtype: str, device: Any = None, **arguments: Any) -> nn.Module:
    with torch.device(torch.get_default_device() if device is None else device):
        made: nn.Module = getattr(layers, name)(**arguments)
    return made.to(getattr(torch, dtype))


def copied(module: nn.Module | None) -> nn.Module | None:
    return copy.deepcopy(module)


def unwrapped(model: Any) -> Any:
    while (kind := type(model)).__module__.partition(".")[0] in ("torch", "timm"):
        if kind.__name__ not in _WRAPPERS:
            break
        model = getattr(model, _WRAPPERS[kind.__name__])
    return model


def is_linear(classifier: nn.Module) -> bool:
    inner = unwrapped(classifier)
    names = {*inner.state_dict()} if type(inner) is nn.Linear else set()  # pruning adds others
    return names in ({"weight"}, {"weight", "bias"})


def dtype_name(dtype: torch.dtype) -> str:
    return f"{dtype}".removeprefix("torch.")


def spec(tensor: Tensor) -> Spec:
    return Spec(tensor.shape, dtype_name(tensor.dtype))


def input_spec(name: str, x: Any) -> Spec:
    if isinstance(x, Proxy):  # of torch.fx, which knows neither shape nor dtype
        return Spec(None, "float32")
    return _tensors.spec("BCNN", name, x)


def from_numpy(array: np.ndarray) -> Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(array))


def to_numpy(tensor: Tensor) -> np.ndarray:
    if tensor.is_meta:
        remedy = "Load its tensors first, or save it before they are offloaded."
        refuse(
            ValueError, "BCNN", "a model must have its tensors", "tensors without values", remedy
        )
    return _view(tensor.detach().cpu().contiguous())


def _view(tensor: Tensor) -> np.ndarray:
    """Return an array on the memory of a tensor, with its strides."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def resample(*maps: Tensor) -> tuple[Tensor, ...]:
    if len(maps) == 1:
        return maps
    resampled = _resample(*maps)
    return tuple(resampled[i] for i in range(len(maps)))  # also of a proxy of torch.fx


@leaf
def _resample(*maps: Tensor) -> tuple[Tensor, ...]:
    size = [min(sizes) for sizes in zip(*(x.shape[2:] for x in maps), strict=True)]
    return tuple(
        x
        if list(x.shape[2:]) == size
        else F.interpolate(x, size, mode="bilinear", align_corners=False)
        for x in maps
    )


def images(batch: np.ndarray) -> Tensor:
    return from_numpy(batch).movedim(-1, 1).contiguous()


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def numpy_function(model: nn.Module, function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    """Not compiled: PyTorch runs the model as it is, moved to `device`."""
    model = model.to(device())
    weight = next(p for p in model.parameters())

    def call(batch: np.ndarray) -> Any:
        with torch.inference_mode():
            result = function(model, from_numpy(batch).movedim(-1, 1).to(weight))
        return _to_channels_last(result)

    return call


def gradients(function: Callable[..., Tensor], maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of the sum of ``function(*maps)``, also within `numpy_function`."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        own = tuple(x.clone().requires_grad_() for x in maps)
        return torch.autograd.grad(function(*own).sum(), own)


def _to_channels_last(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(_to_channels_last, result))
    return to_numpy(result.movedim(1, -1))


def read_pth(file: BinaryIO) -> Any:
    """Read what `torch.save` wrote, with tensors as NumPy arrays; no pickled object is trusted.

    The arrays have the strides of the tensors, which may repeat elements. Nothing is allocated for
    them beyond the size of the file.
    """
    check_uncompressed(file)
    with torch.serialization.safe_globals([argparse.Namespace]):  # timm's and torchvision's options
        try:
            return _to_arrays(torch.load(file, map_location="cpu", weights_only=True))
        except UnpicklingError as error:
            archive = zipfile.is_zipfile(file)
            file.seek(0)
            found = torch.serialization.get_unsafe_globals_in_checkpoint(file) if archive else []
            if not found:
                raise
            raise UnpicklingError(f"it contains {', '.join(sorted(found))}") from error


def _to_arrays(saved: Any) -> Any:
    if isinstance(saved, Mapping):
        return {name: _to_arrays(value) for name, value in saved.items()}
    return _view(saved.detach().cpu()) if isinstance(saved, Tensor) else saved
