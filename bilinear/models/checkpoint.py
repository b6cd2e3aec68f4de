"""Reading and writing the portable file of a trained B-CNN: one safetensors file without pickles.

Its tensors have the canonical names and layouts of `plans`, each SGD buffer is stored as
``momentum.<name>``, and the metadata entry ``"bilinear"`` is the `Description` as JSON. Equal
content gives equal bytes. A file is checked before anything is returned: the description, then
names, shapes and dtypes in its header, both by `read_description`, and last the values.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..contract import Spec, refuse
from ..contract.layers import TensorSpec
from . import pools
from .description import DAMAGED, Custom, Description
from .import_path import is_import_path
from .plans import DTYPES, bcnn_shapes, is_parameter
from .tensor_reader import TensorReader
from .tensorfile import (
    check_finite,
    check_layout,
    check_values,
    open_tensors,
    spec,
    write_tensors,
)

ENTRY = "bilinear"
MOMENTUM = "momentum."
POOL = "pool."

_UNFIT = "Pass exactly its tensors, after pruning and weight normalization are made permanent."


class Checkpoint(NamedTuple):
    """A file's content. Arrays have their canonical names, and the dtype of the file."""

    description: Description
    tensors: dict[str, np.ndarray]
    momentum: dict[str, np.ndarray] | None = None


def write(
    path: str | os.PathLike,
    description: Description,
    tensors: Mapping[str, np.ndarray],
    momentum: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a model's file atomically. Raises: ValueError for tensors that do not fit."""
    op = f"save {os.fsdecode(path)}"
    description.check(op, "Correct it before saving.")
    content = dict(tensors) | {MOMENTUM + name: array for name, array in (momentum or {}).items()}
    content = {name: np.asarray(array, order="C") for name, array in content.items()}
    found = {name: spec(array) for name, array in content.items()}
    _check(op, found, _wanted(description, found), _UNFIT)
    tables = _tables(description)
    for name, array in content.items():
        _check_values(op, name, array, tables)
    write_tensors(op, path, content, {ENTRY: description.to_json()})


def replace_classifier(
    source: str | os.PathLike,
    target: str | os.PathLike,
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    classes: tuple[str, ...],
) -> None:
    """Write the model of a file with another linear classifier and without momentum.

    Args:
        source: a portable file whose model has a linear classifier.
        target: the file to write.
        weight: (classes, descriptor), cast to the dtype of the file.
        bias: (classes,), cast likewise.
        classes: names of the classes.

    Raises: as `read` and `write`.
    """
    with open_portable(source) as file:
        description, tensors, _ = file.read(file.reader.specs())
    dtype = DTYPES[description.dtype]
    head = {"classifier.weight": weight.astype(dtype), "classifier.bias": bias.astype(dtype)}
    described = replace(description, classes=classes, library_version=__version__)
    write(target, described, tensors | head)


class PortableFile:
    """An open portable file: its description, checked with the header, and its tensors."""

    def __init__(self, op: str, reader: TensorReader) -> None:
        self._op, self.reader = op, reader
        self.description = description = _description(op, reader)
        own = _custom_prefixes(description)
        own += tuple(MOMENTUM + prefix for prefix in own)
        found = {k: known for k, known in reader.specs().items() if not k.startswith(own)}
        _check(op, found, _wanted(description, {}), DAMAGED)

    def read(
        self, expected: Mapping[str, Spec] | None = None, momentum: bool = False
    ) -> Checkpoint:
        """Read the tensors; the arguments are those of the function `read`."""
        op, reader, description = self._op, self.reader, self.description
        custom = _custom_prefixes(description)
        if custom and expected is None:
            invariant = "a file with a custom backbone must be opened with that module"
            remedy = "Use load(path, backbone=module)."
            refuse(ValueError, op, invariant, f"no module for {custom[0][:-1]}", remedy)
        wanted, found = _wanted(description, expected or {}), reader.specs()
        _check(op, found, wanted, DAMAGED)
        kept = [name.removeprefix(MOMENTUM) for name in found if name.startswith(MOMENTUM)]
        if momentum and not kept:
            remedy = "Load without momentum=True: training then starts with empty buffers."
            refuse(ValueError, op, "momentum=True needs a file saved with momentum", "none", remedy)
        tables = _tables(description)
        tensors = {k: _check_values(op, k, reader.get_tensor(k), tables) for k in wanted}
        if not momentum:
            return Checkpoint(description, tensors)
        buffers = {name: reader.get_tensor(MOMENTUM + name) for name in wanted if name in kept}
        for name, array in buffers.items():
            check_finite(op, MOMENTUM + name, array)
        return Checkpoint(description, tensors, buffers)


@contextmanager
def open_portable(path: str | os.PathLike) -> Iterator[PortableFile]:
    """Open a model's file once, so that description and tensors belong together.

    Raises: as `read_description`; at the end of the block, if the file was rewritten in place.
    """
    op = f"load {os.fsdecode(path)}"
    with open_tensors(path, op) as reader:
        yield PortableFile(op, reader)


def read_description(path: str | os.PathLike) -> Description:
    """Read a file's description without its tensors. Raises: as `read`, except for values."""
    with open_portable(path) as file:
        return file.description


def read(
    path: str | os.PathLike, expected: Mapping[str, Spec] | None = None, momentum: bool = False
) -> Checkpoint:
    """Read a model's file. Raises: ValueError naming file and tensor, before anything is returned.

    `expected` is needed only where a stream is `Custom`: {full name: shape and dtype}.
    """
    with open_portable(path) as file:
        return file.read(expected, momentum)


def read_portable(weights: Any) -> Checkpoint | None:
    """Read the portable file that `weights` names; None for anything else.

    The tensors of custom modules are read as they are; `check_custom` compares them with a module.
    """
    if not isinstance(weights, str | os.PathLike) or not os.path.isfile(weights):
        return None
    path = os.fsdecode(weights)
    if not path.lower().endswith(".safetensors"):
        return None
    with open_tensors(path, f"weights {path}") as reader:
        portable = ENTRY in reader.metadata()
        return PortableFile(f"load {path}", reader).read(reader.specs()) if portable else None


def check_custom(op: str, checkpoint: Checkpoint, expected: Mapping[str, Spec]) -> None:
    """ValueError unless the tensors fit custom modules with these specs, by full name."""
    found = {name: spec(array) for name, array in checkpoint.tensors.items()}
    check_layout(op, found, _wanted(checkpoint.description, expected), DAMAGED)


def check_streams(
    op: str,
    description: Description,
    framework: str,
    *,
    backbone: bool = False,
    backbone_b: bool = False,
) -> None:
    """ValueError unless the namespace of `framework` can build the file's streams."""
    for key, stream, given in (
        ("backbone", description.backbone, backbone),
        ("backbone_b", description.backbone_b, backbone_b),
    ):
        if isinstance(stream, Custom):
            invariant = f"{key} is {stream.name!r}, a custom module of {stream.framework}"
            remedy = f"Open it with bilinear.{stream.framework}.load(path, {key}=module)."
            if stream.framework != framework:
                refuse(ValueError, op, f"{invariant}, and opens only there", framework, remedy)
            if not given and is_import_path(stream.name):
                remedy += " If you trust its code, allow_import=True (--allow-import) imports it."
            if not given:
                refuse(ValueError, op, f"{invariant}, and must be given", "no module", remedy)
        elif given:
            invariant = f"{key}= must be left out for a file whose {key} is a named backbone"
            refuse(ValueError, op, invariant, f"a module for {stream!r}", f"Leave {key}= out.")


def _description(op: str, reader: TensorReader) -> Description:
    metadata = reader.metadata()
    if ENTRY not in metadata:
        remedy = "Weights of a backbone alone are for BCNN(..., weights=path)."
        received = "a safetensors file without its description"
        refuse(ValueError, op, "the file must be a B-CNN written by save", received, remedy)
    return Description.from_json(metadata[ENTRY], op)


def _custom_prefixes(description: Description) -> tuple[str, ...]:
    """The prefixes of the tensors of custom modules."""
    return tuple(k for k, stream in description.streams.items() if isinstance(stream, Custom))


def _tables(description: Description) -> dict[str, TensorSpec]:
    found = pools.tensors(description.pooling, description.resolved.pooled)
    return {POOL + name: table for name, table in found.items()}


def _wanted(description: Description, own: Mapping[str, Spec]) -> dict[str, Spec]:
    """The specs of all tensors of a file; `own` has those of custom modules."""
    networks = *description.resolved.pair, description.head, description.taps
    shapes = bcnn_shapes(*networks, description.in_channels)
    wanted = {name: Spec(shape, description.dtype) for name, shape in shapes.items()}
    for name, table in _tables(description).items():
        wanted[name] = Spec(table.shape, table.dtype or description.dtype)
    prefixes = _custom_prefixes(description)
    mine = {
        name: Spec(tuple(given.shape or ()), given.dtype)
        for name, given in own.items()
        if name.startswith(prefixes)
    }
    return mine | wanted


def _check(op: str, found: Mapping[str, Spec], wanted: Mapping[str, Spec], remedy: str) -> None:
    """Check that all tensors are there, and momentum for parameters only."""
    momentum = {name: known for name, known in found.items() if name.startswith(MOMENTUM)}
    model = {name: known for name, known in found.items() if name not in momentum}
    check_layout(op, model, wanted, remedy)
    trained = {
        MOMENTUM + name: known
        for name, known in wanted.items()
        if is_parameter(name) and known.dtype in DTYPES
    }
    check_layout(op, momentum, {k: trained[k] for k in trained if k in momentum}, remedy)


def _check_values(
    op: str, name: str, array: np.ndarray, tables: Mapping[str, TensorSpec]
) -> np.ndarray:
    """Return the array. Raises: ValueError for values that are not finite or out of range."""
    values = tables[name].values if name in tables else None
    return (
        check_finite(op, name, array) if values is None else check_values(op, name, array, values)
    )
