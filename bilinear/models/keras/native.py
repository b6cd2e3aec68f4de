"""Keras' own files of a B-CNN: a ``.keras`` archive, or weights alone.

An archive is not deserialized by Keras: its configuration is read as the description of a portable
file is, and compared with the size of its contents before anything is built.
"""

import dataclasses
import json
import math
import os
import shutil
import zipfile
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import h5py
import keras
import numpy as np

from ... import presets
from ..._files import check_uncompressed, replace_file
from ...contract import Spec, refuse
from ...contract.renamed_arguments import upgrade_arguments
from ...data.images import Preprocessing
from .. import plans, pools
from ..construction import UNFILLED
from ..description import DAMAGED, Description
from ..hdf5 import hdf5_spec, open_hdf5, reading
from ..streams import STREAMS
from ..tensorfile import are_integers, check_layout, open_checkpoint, readable
from . import framework
from .bcnn import BCNN

_SUFFIXES = {"keras": ".keras", "keras-weights": ".weights.h5"}
_PACKAGE = "bilinear>"
"""Prefix of the registered names of this package in Keras."""
_OPTIMIZER = "optimizer/"
"""The group of the variables of the optimizer, in the files of a compiled model."""


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """Call ``model.save(path)`` or ``model.save_weights(path)``, atomically."""
    beside = os.path.dirname(os.path.realpath(path))
    with replace_file(path) as temporary, TemporaryDirectory(dir=beside) as folder:
        os.replace(_saved(model, folder, form), temporary)


def read_native(op: str, path: str, form: str, model: BCNN | None) -> BCNN:
    """Return the model of an archive, or `model` with the weights of a file."""
    with open_checkpoint(op, path) as file, TemporaryDirectory() as folder:
        given = os.path.join(folder, "given.h5")
        if form == "keras":
            model = _unpack(op, file, given)
        else:
            with open(given, "wb") as copy:
                shutil.copyfileobj(file, copy)
        assert model is not None
        with h5py.File(_saved(model, folder, "keras-weights")) as own:
            expected = _datasets(own)
        with open_hdf5(op, given) as weights:
            found = {k: s for k, s in _datasets(weights).items() if not k.startswith(_OPTIMIZER)}
            shared = found.keys() & expected.keys()  # the pool checks and converts integers
            tables = {k for k in shared if are_integers(found[k], expected[k])}
            found |= {name: expected[name] for name in tables}
            check_layout(op, found, expected, "They must be the weights of the described model.")
            with reading(op):
                model.load_weights(weights.filename)
    return model


def _saved(model: BCNN, folder: str, form: str) -> str:
    path = os.path.join(folder, "model" + _SUFFIXES[form])
    if form == "keras":
        model.save(path)
    else:
        model.save_weights(path)
    return path


def _datasets(file: h5py.File) -> dict[str, Spec]:
    """Return {path within an HDF5 file: shape and dtype of the values}."""
    found: dict[str, Spec] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = hdf5_spec(item)

    file.visititems(visit)
    return found


def _unpack(op: str, file: BinaryIO, target: str) -> BCNN:
    """Copy the weights of an archive to `target`, and return the model that it describes."""
    invariant = "the file must be an archive of Keras"
    with readable(op, invariant, "It is damaged, or of another kind."):
        check_uncompressed(file)
        with zipfile.ZipFile(file) as archive:
            data = json.loads(archive.read("config.json"))
            with archive.open("model.weights.h5") as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy)
        kind, registered = f"{data['module']}.{data['class_name']}", data["registered_name"]
    if registered != f"{_PACKAGE}BCNN":
        remedy = "Build a BCNN with it as backbone, and save that."
        refuse(ValueError, op, "the archive must hold a bilinear.tensorflow.BCNN", kind, remedy)
    remedy = "It is damaged, or has a custom or quantized part, which load_model of Keras opens."
    with readable(op, "the archive must describe a BCNN", remedy):
        description = _description(data["config"])
    description.check(op, DAMAGED)
    needed, stored = _size(description), os.path.getsize(target)
    if needed > stored:
        invariant = f"the archive must hold the {needed:,} bytes of the model that it describes"
        refuse(ValueError, op, invariant, f"{stored:,}", DAMAGED)
    return _model(description)


def _description(config: Any) -> Description:
    """Describe a model by what `BCNN.get_config` returns."""
    for stream in STREAMS:
        if not isinstance(config.get(stream), str | None):
            raise ValueError(f"{stream} is a custom layer")
    if mode := config.get("quantized"):
        raise ValueError(f"the classifier is quantized, {mode}")
    policy, own = (_policy(given["dtype"]) for given in (config, config["pool"]["config"]))
    if own.name != policy.name:  # a file has one dtype
        raise ValueError(f"the pool has the dtype policy {own.name}, the model {policy.name}")
    classes, taps, preprocessing = (config[key] for key in ("classes", "taps", "preprocessing"))
    description = Description(
        backbone=config["backbone"],
        backbone_b=config.get("backbone_b"),
        num_classes=config["num_classes"],
        descriptor_size=1,
        pooling=_pooling(config["pool"]),
        classes=classes and tuple(classes),
        preprocessing=preprocessing and Preprocessing.from_dict(preprocessing),
        dtype=policy.variable_dtype,
        projection=config["projection"],
        taps=taps and tuple(taps),
        in_channels=config.get("in_channels", plans.IN_CHANNELS),
    )
    size = pools.size(description.pooling, description.resolved.pooled)
    return dataclasses.replace(description, descriptor_size=size)


def _policy(dtype: Any) -> keras.DTypePolicy:
    return keras.DTypePolicy(dtype["config"]["name"] if isinstance(dtype, dict) else dtype)


def _pooling(layer: Any) -> dict[str, Any]:
    """Describe a pool of this package by its serialized configuration."""
    name = layer["registered_name"].removeprefix(_PACKAGE)
    given, row = upgrade_arguments(name, layer["config"]), pools.POOLS[name]
    found = {key: given[key] for key in row.arguments if key in given}
    if "pool" in found:
        found["pool"] = _pooling(found["pool"])
    defaults = {key for key in row.optional & found.keys() if found[key] == row.arguments[key][1]}
    return {"name": name} | {key: found[key] for key in found if key not in defaults}


def _size(description: Description) -> int:
    """The bytes of all tensors of a model."""
    streams, dtype = description.resolved, description.dtype
    networks = *streams.pair, description.head, streams.taps, streams.in_channels
    shapes = plans.bcnn_shapes(*networks).values()
    tables = pools.tensors(description.pooling, streams.pooled).values()
    sizes = [(shape, dtype) for shape in shapes]
    sizes += [(table.shape, table.dtype or dtype) for table in tables]
    itemsizes = {kind: np.dtype(plans.DTYPES.get(kind, kind)).itemsize for _, kind in sizes}
    return sum(math.prod(shape) * itemsizes[kind] for shape, kind in sizes)


def _model(description: Description) -> BCNN:
    make = partial(framework.layer, dtype=description.dtype)
    first, second = description.resolved.pair
    build: Any = BCNN
    model = build(
        first,
        description.num_classes,
        backbone_b=second,
        pool=presets.make_layer(description.pooling, make),
        projection=description.projection,
        taps=description.taps,
        in_channels=description.in_channels,
        seed=UNFILLED,
        dtype=description.dtype,
    )
    model.classes, model.preprocessing = description.classes, description.preprocessing
    return model
