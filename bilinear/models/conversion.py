"""Conversion of the portable file to and from the native files of each framework.

    convert("birds.safetensors", "birds.pt")
    convert("birds.pt", "tuned.safetensors", like="birds.safetensors")

docs/convert.md describes the forms. All values are preserved exactly; SGD momentum is dropped.
Only a ``.keras`` archive describes its model; for other native files `like` does.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .._files import check_outputs
from .._require import BACKENDS, require
from ..contract import refuse
from .checkpoint import MOMENTUM
from .framework import networks
from .tensorfile import open_tensors

PORTABLE = "portable"


class Form(NamedTuple):
    """A kind of file of one framework."""

    framework: str
    suffixes: tuple[str, ...]
    complete: bool = False
    """Whether the file describes its model."""


FORMS = {
    "torch": Form("torch", (".pt", ".pth")),
    "keras": Form("tensorflow", (".keras",), complete=True),
    "keras-weights": Form("tensorflow", (".weights.h5",)),
    "orbax": Form("jax", (".orbax",)),
}
_OWN = {"torch": "torch", "tensorflow": "keras", "jax": "orbax"}
"""Framework -> its form for whole models."""
_SUFFIXES = {PORTABLE: (".safetensors",)} | {name: form.suffixes for name, form in FORMS.items()}


class Conversion(NamedTuple):
    """The result of `convert`."""

    source: str
    """The form that was read."""
    target: str
    """The form that was written."""
    tensors: int
    """How many tensors the model has."""
    momentum_left: bool
    """Whether SGD buffers of the portable file were left out."""


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    like: str | os.PathLike | None = None,
    source_form: str | None = None,
    target_form: str | None = None,
    framework: str | None = None,
) -> Conversion:
    """Convert the model file `source` to `target`; exactly one of them is a portable file.

    The target is written atomically. An existing file is replaced; an existing folder is not.

    Args:
        source: the file to read.
        target: the file to write.
        like: a portable file of the same model, if `source` does not describe its model.
        source_form: form of `source`. Default None: by its suffix.
        target_form: form of `target`. Default None: by its suffix.
        framework: ``torch``, ``tensorflow`` or ``jax``: the framework of the native file. It
            selects the form of a file with another suffix.

    Raises: ValueError for a target that is an input, for an unknown framework or form, for two
        portable or two native files, for a form of another framework, for `like` if it is missing
        or not needed, and for tensors that are missing, unknown, not finite, or of another shape or
        dtype; ImportError if the framework is not installed; OSError if a file cannot be read or
        written.
    """
    source, target = os.fsdecode(source), os.fsdecode(target)
    op = f"convert {source}"
    if framework is not None and framework not in BACKENDS:
        invariant = f"framework (--framework) must be one of {', '.join(BACKENDS)}"
        remedy = "Leave it out if the suffixes of the files determine the formats."
        refuse(ValueError, op, invariant, repr(framework), remedy)
    read = _form(op, source, source_form, framework)
    written = _form(op, target, target_form, framework)
    if (read == PORTABLE) == (written == PORTABLE):
        remedy = "Convert in two steps, through a portable file."
        invariant = "exactly one of the two files must be portable"
        refuse(ValueError, op, invariant, f"{read} to {written}", remedy)
    foreign = written if read == PORTABLE else read
    form = FORMS[foreign]
    if framework not in (None, form.framework):
        invariant = f"framework (--framework) of the format {foreign} must be {form.framework}"
        remedy = "Leave it out, or choose another format."
        refuse(ValueError, op, invariant, repr(framework), remedy)
    needed = read != PORTABLE and not form.complete
    if needed != (like is not None):
        invariant = f"{read} to {written} needs {'a' if needed else 'no'} portable file as like"
        remedy = "Leave like= (--like) out."
        if needed:
            remedy = "Pass like= (--like), a portable file of the same model."
        refuse(ValueError, op, invariant, f"like={like!r}", remedy)
    check_outputs([target], [source, *([] if like is None else [like])])
    require(form.framework)
    native, files = (networks(form.framework, name) for name in ("native", "bcnn"))
    if read == PORTABLE:
        model = files.load(source)
        native.write_native(op, model, target, foreign)
    else:
        known = files.load(like) if needed else None
        tables = {} if known is None else known.random_tables()
        model = native.read_native(op, source, foreign, known)
        _check_tables(op, tables, model.random_tables())
        files.save(model, target)
    left = False
    if read == PORTABLE:
        with open_tensors(source, op) as file:
            left = any(name.startswith(MOMENTUM) for name in file.specs())
    return Conversion(read, written, len(model.canonical()), left)


def _check_tables(
    op: str, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> None:
    """ValueError where `found` has other random tables; an average of models can change them."""
    for name, table in expected.items():
        if not np.array_equal(found[name], table):
            remedy = "Use the portable file of the same model, and weights whose tables are whole."
            refuse(ValueError, op, f"{name} must be the table of like (--like)", "another", remedy)


def _form(op: str, path: str, given: str | None, framework: str | None) -> str:
    """Return the form of a file: as given, else by its name, else by the framework."""
    if given is None:
        name = path.lower().rstrip("/\\")
        own = _OWN[framework] if framework else ""
        given = next((form for form, ends in _SUFFIXES.items() if name.endswith(ends)), own)
        if not given:
            known = ", ".join(end for ends in _SUFFIXES.values() for end in ends)
            remedy = f"Pass its format ({', '.join(_SUFFIXES)}) or its framework."
            refuse(ValueError, op, f"a name must end in one of {known}", repr(path), remedy)
    if given not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        refuse(ValueError, op, f"a format must be one of {known}", repr(given))
    return given
