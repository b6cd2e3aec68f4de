"""Tensors of a ``state_dict`` as training tools save it: nested, under prefixes, in either format.

Entries and prefixes are those of DataParallel, `torch.compile`, `AveragedModel`, Lightning, timm
and torchvision's training scripts. Pickled objects are not loaded.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..contract import Spec, refuse
from .tensorfile import open_checkpoint, open_tensors, readable, spec

ReadPth = Callable[[BinaryIO], Any]
"""Opened file -> what was saved, with tensors as NumPy arrays: views that allocate nothing."""
IsKnown = Callable[[str], bool]
"""Whether a reader knows the name of a tensor."""

PTH = (".pth", ".pt", ".tar", ".ckpt", ".bin")
"""Suffixes of the files that `torch.save` writes."""

_ENTRIES = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model_state", "model")
"""Where a checkpoint has its ``state_dict``. As in timm, averaged weights come first."""
_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel, `AveragedModel` and `torch.compile` add to the names of tensors."""
_ATTRIBUTE = "model."
"""Where a Lightning module has its network."""
_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Last part of the names of tensors that no model needs."""


class State(NamedTuple):
    """The tensors of an open file by plain name: no prefixes, no counters."""

    specs: dict[str, Spec]
    read: Callable[[str], np.ndarray]


@contextmanager
def open_state(
    op: str, path: str, read_pth: ReadPth | None, known: IsKnown, open_it: str = ""
) -> Iterator[State]:
    """Open a safetensors file, or one that `torch.save` wrote.

    Args:
        op: starts the error messages.
        path: of the file.
        read_pth: how the framework reads what `torch.save` wrote; None if it cannot.
        known: of a name with prefixes, known ones are preserved.
        open_it: code that opens the file in `bilinear.torch`.

    Raises: ValueError for a file that is damaged, or that holds no ``state_dict``; OSError if the
        file cannot be opened or is not a regular file.
    """
    if path.lower().endswith(".safetensors"):
        with open_tensors(path, op) as file:
            found = file.specs()
            names = _plain_names(op, found, known)
            plain = {own: found[name] for own, name in names.items()}
            yield State(plain, lambda own: file.get_tensor(names[own]))
        return
    arrays = state_tensors(op, read_saved(op, path, read_pth, open_it), known)
    yield State({name: spec(array) for name, array in arrays.items()}, arrays.__getitem__)


def read_saved(op: str, path: str, read_pth: ReadPth | None, open_it: str = "") -> Any:
    """Read what `torch.save` wrote; `open_it` is the code that opens it in `bilinear.torch`."""
    if read_pth is None:
        invariant = "PyTorch's own files are read by bilinear.torch alone"
        remedy = f"Convert it there once: model = {open_it}, save(model, 'model.safetensors'); "
        remedy += "here load('model.safetensors') opens it."
        refuse(ValueError, op, invariant, os.path.basename(path), remedy)
    invariant = "the file must be one that torch.load(weights_only=True) reads"
    remedy = "It is damaged, or holds more than tensors and numbers."
    with open_checkpoint(op, path) as file, readable(op, invariant, remedy):
        return read_pth(file)


def state_tensors(op: str, saved: Any, known: IsKnown) -> dict[str, np.ndarray]:
    """Return the tensors of what `torch.save` wrote by plain name: no prefixes, no counters."""
    while isinstance(saved, Mapping):
        nested = (saved[entry] for entry in _ENTRIES if isinstance(saved.get(entry), Mapping))
        if (inner := next(nested, None)) is None:
            break
        saved = inner
    if not isinstance(saved, Mapping):
        received = f"{type(saved).__module__}.{type(saved).__qualname__}"
        remedy = "Save the model's state_dict() with the code that made it."
        refuse(ValueError, op, "the file must hold a state_dict", received, remedy)
    for name, array in saved.items():
        if not isinstance(array, np.ndarray):
            entries = f"{', '.join(map(repr, _ENTRIES[:-1]))} or {_ENTRIES[-1]!r}"
            remedy = f"The file must hold one state_dict, bare or under {entries}."
            refuse(ValueError, op, f"{name!r} must be one tensor", type(array).__name__, remedy)
        _check_stored(op, name, array)
    return {own: saved[name] for own, name in _plain_names(op, saved, known).items()}


def _plain_names(op: str, names: Iterable[str], known: IsKnown) -> dict[str, str]:
    """Return {name without prefixes: name}. Raises: ValueError for two names of one tensor."""
    found: dict[str, str] = {}
    for name in names:
        plain = f"{name}"
        if not known(plain):
            plain = ".".join(part for part in plain.split(".") if part not in _WRAPPERS)
        while plain.startswith(_ATTRIBUTE) and not known(plain):
            plain = plain.removeprefix(_ATTRIBUTE)
        if plain in found:
            remedy = "The file must hold one state_dict."
            received = f"{found[plain]!r} and {name!r}"
            refuse(ValueError, op, f"{plain!r} must be one tensor", received, remedy)
        found[plain] = name
    return {plain: name for plain, name in found.items() if plain.split(".")[-1] not in _COUNTERS}


def _check_stored(op: str, name: str, array: np.ndarray) -> None:
    """ValueError for a tensor that repeats its elements, so that a small file fills the memory."""
    low, high = np.lib.array_utils.byte_bounds(array)
    if array.size and high - low < array.nbytes:
        received = f"{high - low:,} bytes for the {array.nbytes:,} of {array.shape}"
        remedy = "Save its contiguous() copy."
        refuse(ValueError, op, f"all elements of {name!r} must be stored", received, remedy)
