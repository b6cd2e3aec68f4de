"""What `torch.save` wrote, read without trusting its pickle."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..contract import refuse
from .tensorfile import readable

ReadPth = Callable[[str], Any]
"""Path -> what was saved, with tensors as NumPy arrays."""

_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and `torch.compile` add to the names of tensors."""


def read_saved(op: str, path: str, read_pth: ReadPth | None, open_it: str = "") -> Any:
    """Read what `torch.save` wrote; `open_it` is the code that opens it in `bilinear.torch`."""
    if read_pth is None:
        invariant = "PyTorch's own files are read by bilinear.torch alone"
        remedy = f"Convert it there once: model = {open_it}, save(model, 'model.safetensors'); "
        remedy += "here load('model.safetensors') opens it."
        refuse(ValueError, op, invariant, os.path.basename(path), remedy)
    invariant = "the file must be one that torch.load(weights_only=True) reads"
    remedy = "It is damaged, or holds more than tensors and numbers."
    with readable(op, invariant, remedy, (OSError,)):
        return read_pth(path)


def state_tensors(op: str, saved: Any) -> dict[str, np.ndarray]:
    """Return a ``state_dict``'s tensors without prefixes of DataParallel and `torch.compile`."""
    tensors: dict[str, np.ndarray] = {}
    for entry in ("state_dict", "model"):
        if isinstance(saved, Mapping) and isinstance(saved.get(entry), Mapping):
            saved = saved[entry]
    if not isinstance(saved, Mapping):
        received = f"{type(saved).__module__}.{type(saved).__qualname__}"
        remedy = "Save the model's state_dict() with the code that made it."
        refuse(ValueError, op, "the file must hold a state_dict", received, remedy)
    for name, array in saved.items():
        plain = ".".join(part for part in f"{name}".split(".") if part not in _WRAPPERS)
        if not isinstance(array, np.ndarray) or plain in tensors:
            received = "it twice" if plain in tensors else type(array).__name__
            remedy = "The file must hold one state_dict, bare or under 'state_dict' or 'model'."
            refuse(ValueError, op, f"{name!r} must be one tensor", received, remedy)
        tensors[plain] = array
    return {k: v for k, v in tensors.items() if not k.endswith(".num_batches_tracked")}
