"""What `torch.save` wrote, read without trusting its pickle."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..contract import message, refuse

ReadPth = Callable[[str], Any]
"""Path -> what was saved, with tensors as NumPy arrays."""

_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and `torch.compile` add to the names of tensors."""


def read_saved(op: str, path: str, read_pth: ReadPth) -> Any:
    """Read what `torch.save` wrote. Raises: ValueError where that is not possible."""
    try:
        return read_pth(path)
    except OSError:
        raise
    except Exception as error:  # a damaged or foreign file can raise anything
        invariant = "the file must be one that torch.load(weights_only=True) reads"
        received = f"{type(error).__name__}: {f'{error}'.partition(chr(10))[0]}"
        remedy = "It is damaged, or holds more than tensors and numbers."
        raise ValueError(message(op, invariant, received, remedy)) from error


def state_tensors(op: str, saved: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a ``state_dict``, bare or under ``state_dict`` or ``model``.

    The prefixes of DataParallel and `torch.compile` and ``num_batches_tracked`` are left out.
    """
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
