"""Keras' own VGG16, read from HDF5 files of Keras 1 to 3 into canonical names and layout.

Its weights are Caffe's: they expect blue, green and red from 0 to 255, less the mean. Both are
converted exactly: the first convolution's input channels are reversed, so that it takes RGB, and
``(image − mean) / std`` of an image in [0, 1], by `PREPROCESSING`, is what it was trained with.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..contract import refuse
from ..data.images import Preprocessing
from . import plans
from .hdf5 import hdf5_spec, open_hdf5, reading
from .plan_layers import pair
from .tensorfile import check_finite, check_layout, float_specs

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
    convolutions = dict(_convolutions())
    shapes: dict[str, plans.Shape] = {}
    for name, conv in convolutions.items():
        shapes[f"{name}/kernel"] = *pair(conv.kernel), conv.inputs, conv.outputs
        shapes[f"{name}/bias"] = (conv.outputs,)
    with open_hdf5(op, path) as file:
        with reading(op):
            datasets = _datasets(file)
            found = {name: hdf5_spec(dataset) for name, dataset in datasets.items()}
        expected = float_specs(op, found, shapes, _REMEDY)
        check_layout(op, found, expected, _REMEDY)
        with reading(op):
            arrays = {name: np.asarray(datasets[name]) for name in expected}
    for name, array in arrays.items():
        check_finite(op, name, array)
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
    for layer in plans.BACKBONES["vgg16"]:
        match layer:
            case plans.MaxPool():
                block, place = block + 1, 0
            case plans.Conv():
                place += 1
                yield f"block{block}_conv{place}", layer


def _datasets(file: Any) -> dict[str, Any]:
    """Return {layer/part: data set} without heads; parts after the second are numbered."""
    return {
        f"{layer}/{_PARTS.get(i, i)}": dataset
        for layer, datasets in _layers(file).items()
        for i, dataset in enumerate(datasets)
        if layer not in HEADS
    }


def _layers(file: Any) -> dict[str, list[Any]]:
    """Layer -> its data sets in order, as Keras 1 and 2 or as Keras 3 arrange them."""
    layers = {}

    def visit(path: str, item: Any) -> None:
        parts = path.split("/")
        if hasattr(item, "shape") or parts[0].startswith("optimizer"):
            return
        if len(item.attrs.get("weight_names", ())):
            layers[parts[-1]] = [item[_text(name)] for name in item.attrs["weight_names"]]
        elif parts[-1] == "vars" and "name" in item.attrs and len(item):
            layers[_text(item.attrs["name"])] = [item[str(place)] for place in range(len(item))]

    file.visititems(visit)
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
