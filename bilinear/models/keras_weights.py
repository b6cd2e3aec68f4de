"""Keras' own VGG16, read from HDF5 files of Keras 1 to 3 into canonical names and layout.

Its weights are Caffe's: they expect blue, green and red from 0 to 255, less the mean. Both are
converted exactly: the first convolution's input channels are reversed, so that it takes RGB, and
``(image − mean) / std`` of an image in [0, 1], by `PREPROCESSING`, is what it was trained with.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..contract import message, refuse
from ..data.images import Preprocessing
from . import plans
from .tensorfile import check_finite, check_layout, float_specs, readable, spec

SUFFIXES = (".h5", ".hdf5")

CAFFE_MEANS = (123.68, 116.779, 103.939)
"""Of red, green and blue, on the scale 0 to 255."""

PREPROCESSING = Preprocessing(
    mean=(CAFFE_MEANS[0] / 255, CAFFE_MEANS[1] / 255, CAFFE_MEANS[2] / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)

HEADS = ("fc1", "fc2", "predictions")
"""Keras' names of the layers after the backbone; skipped."""

_PARTS = {0: "kernel", 1: "bias"}
_REMEDY = "weights= takes VGG16 of keras.applications, as save_weights or save writes it."


def keras_tensors(op: str, backbone: str, path: str) -> dict[str, np.ndarray]:
    """Return Keras' VGG16 as {canonical name without prefix: array}, in the file's dtype."""
    if backbone != "vgg16":
        remedy = "Use weights='imagenet', or torchvision's or timm's file."
        refuse(ValueError, op, "weights of Keras are for 'vgg16'", repr(backbone), remedy)
    arrays = _arrays(op, path)
    convolutions = dict(_convolutions())
    found = {name: spec(array) for name, array in arrays.items()}
    shapes: dict[str, plans.Shape] = {}
    for name, conv in convolutions.items():
        shapes[f"{name}/kernel"] = conv.kernel, conv.kernel, conv.inputs, conv.outputs
        shapes[f"{name}/bias"] = (conv.outputs,)
    expected = float_specs(op, found, shapes, _REMEDY)
    check_layout(op, found, expected, _REMEDY)
    for name in expected:
        check_finite(op, name, arrays[name])
    tensors = {}
    for name, conv in convolutions.items():
        kernel = plans.channels_first(arrays[f"{name}/kernel"])
        if conv.inputs == 3:
            kernel = np.ascontiguousarray(kernel[:, ::-1])
        tensors |= {f"{conv.name}.weight": kernel, f"{conv.name}.bias": arrays[f"{name}/bias"]}
    return tensors


def _convolutions() -> Iterator[tuple[str, plans.Conv]]:
    """Keras' name of each convolution of VGG16, and the convolution."""
    block, place = 1, 0
    for layer in plans.VGG16:
        match layer:
            case plans.MaxPool():
                block, place = block + 1, 0
            case plans.Conv():
                place += 1
                yield f"block{block}_conv{place}", layer


def _arrays(op: str, path: str) -> dict[str, np.ndarray]:
    """Return {layer/part: array} without heads; parts after the second are numbered."""
    try:
        import h5py  # noqa: PLC0415 - needed for these files alone
    except ImportError as error:
        invariant = "h5py must be installed to read Keras' HDF5 files"
        remedy = "Install it: pip install 'bilinear[hdf5]'"
        raise ImportError(message(op, invariant, f"{error}", remedy)) from error
    invariant = "the file must be a complete HDF5 file of Keras"
    remedy = "It is truncated, or of another kind."
    with readable(op, invariant, remedy), h5py.File(path, "r") as file:
        return {
            f"{layer}/{_PARTS.get(i, i)}": np.asarray(dataset)
            for layer, datasets in _layers(file, h5py.Group).items()
            for i, dataset in enumerate(datasets)
            if layer not in HEADS
        }


def _layers(file: Any, group: type) -> dict[str, list[Any]]:
    """Layer -> its datasets in order, as Keras 1 and 2 or as Keras 3 arrange them."""
    layers = {}

    def visit(path: str, item: Any) -> None:
        parts = path.split("/")
        if not isinstance(item, group) or parts[0].startswith("optimizer"):
            return
        if len(item.attrs.get("weight_names", ())):
            layers[parts[-1]] = [item[_text(name)] for name in item.attrs["weight_names"]]
        elif parts[-1] == "vars" and "name" in item.attrs and len(item):
            layers[_text(item.attrs["name"])] = [item[str(place)] for place in range(len(item))]

    file.visititems(visit)
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
