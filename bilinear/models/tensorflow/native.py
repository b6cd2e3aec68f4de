"""Keras' own files of a B-CNN: a ``.keras`` archive, or weights alone."""

import os
import shutil
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import keras

from ..._files import replace_file
from ...contract import Spec, refuse
from ..tensorfile import check_layout, readable
from .bcnn import BCNN

_SUFFIXES = {"keras": ".keras", "keras-weights": ".weights.h5"}


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """Call ``model.save(path)`` or ``model.save_weights(path)``, atomically."""
    beside = os.path.dirname(os.path.realpath(path))
    with replace_file(path) as temporary, TemporaryDirectory(dir=beside) as folder:
        os.replace(_saved(model, folder, form), temporary)


def read_native(op: str, path: str, form: str, model: BCNN | None) -> BCNN:
    """Return the model of an archive, or `model` with the weights of a file."""
    with open(path, "rb"):  # the same errors for a path that cannot be opened as anywhere
        pass
    if form == "keras":
        return _archived(op, path)
    assert model is not None
    remedy = "They must be the weights of the model that the portable file describes."
    with TemporaryDirectory() as folder:
        expected = _datasets(op, _saved(model, folder, form))
        check_layout(op, _datasets(op, path), expected, remedy)
        model.load_weights(_suffixed(path, folder, form))
    return model


def _saved(model: BCNN, folder: str, form: str) -> str:
    path = os.path.join(folder, "model" + _SUFFIXES[form])
    if form == "keras":
        model.save(path)
    else:
        model.save_weights(path)
    return path


def _suffixed(path: str, folder: str, form: str) -> str:
    """Return a path with the suffix that Keras needs: the file itself, or a copy of it."""
    if path.endswith(_SUFFIXES[form]):
        return path
    return shutil.copy(path, os.path.join(folder, "given" + _SUFFIXES[form]))


def _archived(op: str, path: str) -> BCNN:
    """Load an archive in Keras' safe mode, which runs no code of the archive."""
    invariant = "the file must be one that keras.saving.load_model reads"
    remedy = "It is damaged, or has layers that are neither Keras' nor bilinear's."
    with readable(op, invariant, remedy), TemporaryDirectory() as folder:
        model: Any = keras.saving.load_model(_suffixed(path, folder, "keras"), compile=False)
    if not isinstance(model, BCNN):
        received = f"{type(model).__module__}.{type(model).__qualname__}"
        remedy = "Build a BCNN with it as backbone, and save that."
        refuse(ValueError, op, "the archive must hold a bilinear.tensorflow.BCNN", received, remedy)
    return model


def _datasets(op: str, path: str) -> dict[str, Spec]:
    """Return {path within an HDF5 file: shape and dtype of the values}."""
    found: dict[str, Spec] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = Spec(item.shape, item.dtype.name)

    remedy = "It is damaged, or of another kind."
    with readable(op, "the file must be a whole HDF5 file", remedy), h5py.File(path) as file:
        file.visititems(visit)
    return found
