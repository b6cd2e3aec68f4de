"""Safetensors files, read and written with every check."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from .._files import open_regular, placeholder, replace_file
from ..contract import ACCUMULATION, Spec, message, refuse
from .tensor_reader import TensorReader

_VARIANCES = ("running_var", "moving_variance")
"""The last words of the names of running variances, in PyTorch and in Keras."""


@contextmanager
def readable(op: str, invariant: str, remedy: str) -> Iterator[None]:
    """Turn errors into a ValueError: to read a damaged or foreign file can raise anything."""
    try:
        yield
    except Exception as error:
        received = f"{type(error).__name__}: {f'{error}'.strip().partition(chr(10))[0]}"
        raise ValueError(message(op, invariant, received, remedy)) from error


def open_checkpoint(op: str, path: str | os.PathLike) -> BinaryIO:
    """Open a regular file. Raises: ValueError for what stands in place of a file of a model."""
    file = open_regular(path)
    if found := placeholder(file):
        file.close()
        refuse(ValueError, op, "the file must hold the tensors of a model", *found)
    return file


@contextmanager
def open_tensors(path: str | os.PathLike, op: str) -> Iterator[TensorReader]:
    """Open a safetensors file and check its header; tensors are read one by one on request.

    Raises: ValueError that names the file if it is damaged, or is rewritten in place meanwhile.
    """
    with open_checkpoint(op, os.fsdecode(path)) as file:
        reader = TensorReader(op, file)
        yield reader
        reader.check_unchanged()


def spec(array: np.ndarray) -> Spec:
    array = np.asarray(array)
    return Spec(array.shape, array.dtype.name)


def check_layout(
    op: str, found: Mapping[str, Spec], expected: Mapping[str, Spec], remedy: str
) -> None:
    """Raise ValueError for the first tensor that is missing, unknown or of another spec."""
    for name in expected:
        if name not in found:
            _refuse_tensor(op, name, "must be there", _others(found, expected), remedy)
    for name in found:
        if name not in expected:
            _refuse_tensor(op, name, "must not be there", f"it, {_text(found[name])}", remedy)
    for name, wanted in expected.items():
        if found[name] != wanted:
            _refuse_tensor(op, name, f"must be {_text(wanted)}", _text(found[name]), remedy)


def are_integers(found: Spec, bits: Spec) -> bool:
    """Whether a random table has its integers, as before version 0.1, in place of their `bits`."""
    shape = tuple(found.shape or ())
    same = shape == tuple(bits.shape or ())[: len(shape)]
    return same and bits.dtype == "bool" and found.dtype.startswith("int")


def float_specs(
    op: str, found: Mapping[str, Spec], shapes: Mapping[str, tuple[int, ...]], remedy: str
) -> dict[str, Spec]:
    """Return the expected specs, of the dtypes that were found, which must be floating."""
    expected = {}
    for name, shape in shapes.items():
        dtype = found[name].dtype if name in found else "float32"
        if dtype not in ACCUMULATION:
            _refuse_tensor(op, name, "must be of a real floating type", dtype, remedy)
        expected[name] = Spec(shape, dtype)
    return expected


def check_finite(op: str, name: str, array: np.ndarray) -> np.ndarray:
    """Return the array. Raises: ValueError for NaN, an infinity or a negative running variance."""
    is_variance = name.endswith(_VARIANCES)
    flat = array.reshape(-1)
    for start in range(0, flat.size, 2**22):  # a classifier's mask at once would be 50 MB
        part = flat[start : start + 2**22]
        bad = ~np.isfinite(part)
        if is_variance:
            bad |= part < 0
        if bad.any():
            index = np.unravel_index(start + int(bad.argmax()), array.shape)
            received = f"{part[bad.argmax()]} at {tuple(map(int, index))}"
            remedy = "Use an earlier file: such values spread to every prediction."
            invariant = "must be finite and not negative" if is_variance else "must be finite"
            _refuse_tensor(op, name, invariant, received, remedy)
    return array


def check_values(op: str, name: str, array: np.ndarray, values: range) -> np.ndarray:
    """Return the array. Raises: ValueError if it holds an integer that is not among `values`."""
    offset = array - np.int64(values.start)
    bad = (array < values.start) | (array >= values.stop) | (offset % values.step != 0)
    if bad.any():
        index = np.unravel_index(int(bad.argmax()), array.shape)
        known = ", ".join(map(str, values)) if len(values) < 4 else f"{values[0]} to {values[-1]}"
        received = f"{array[index]} at {tuple(map(int, index))}"
        remedy = "The file is damaged; use an earlier one."
        _refuse_tensor(op, name, f"must hold {known}", received, remedy)
    return array


def _refuse_tensor(op: str, name: str, invariant: str, received: str, remedy: str) -> NoReturn:
    refuse(ValueError, op, f"tensor {name!r} {invariant}", received, remedy)


def _others(found: Mapping[str, Spec], expected: Mapping[str, Spec]) -> str:
    """The number of the tensors that were found, and three of their names, unknown ones first."""
    names = sorted(found, key=lambda name: name in expected)[:3]
    listed = f", such as {', '.join(map(repr, names))}" if names else ""
    return f"only {len(found)} others{listed}"


def _text(spec: Spec) -> str:
    return f"{spec.dtype} {tuple(spec.shape or ())}"


def write_tensors(
    op: str, path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]
) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the new one."""
    with replace_file(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata)
        except SafetensorError as error:
            remedy = "Make room on the disk, or save elsewhere; nothing was changed."
            refuse(OSError, op, "the file must be written whole", f"{error}", remedy)
