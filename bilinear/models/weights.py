"""Pretrained backbones, from the hub or from a file, without the framework that trained them."""

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .._files import file_checksum
from ..contract import Spec, message, refuse
from ..data.images import Preprocessing
from . import keras_weights
from .hub_client import download
from .plans import IN_CHANNELS, Shape, tensor_shapes
from .state_dict import PTH, ReadPth, open_state
from .tensorfile import check_finite, check_layout, float_specs


class Pin(NamedTuple):
    """One file on the hub; what could not be looked up is None, and then not checked."""

    repository: str
    revision: str | None = None
    """The commit; None takes the newest one."""
    sha256: str | None = None
    """The checksum; None checks names, shapes and values of the tensors only."""
    size: int | None = None
    filename: str = "model.safetensors"


PINS = {
    "vgg16": Pin(
        "timm/vgg16.tv_in1k",
        "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    ),
    "vgg16_bn": Pin("timm/vgg16_bn.tv_in1k"),
    "vgg19": Pin("timm/vgg19.tv_in1k"),
    "vgg19_bn": Pin("timm/vgg19_bn.tv_in1k"),
    "resnet18": Pin(
        "timm/resnet18.tv_in1k",
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        46_807_446,
    ),
    "resnet34": Pin(
        "timm/resnet34.tv_in1k",
        "1b7b21cca82ff974d341713f777bf740c2db38c4",
        "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
        87_278_522,
    ),
    "resnet50": Pin(
        "timm/resnet50.tv_in1k",
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        102_469_840,
    ),
    "resnet101": Pin("timm/resnet101.tv_in1k"),
    "inception_v3": Pin(
        "timm/inception_v3.tv_in1k",
        sha256="9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
    ),
}
"""torchvision's own IMAGENET1K_V1 weights, as timm publishes them."""

HEADS = ("fc.", "classifier.", "pre_logits.", "head.", "AuxLogits.")
"""Prefixes of the layers beside the backbone, in torchvision and timm; skipped."""

_HALVES = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
"""What ``transform_input`` of torchvision's Inception v3 converts images to."""

Weights = str | os.PathLike | None

_BACKBONE = "weights= takes the tensors of torchvision's or timm's network of that name."


def stream_weights(
    weights: Any, backbone: object, backbone_b: object = None
) -> tuple[Weights, Weights]:
    """Return the weights of both streams; one file is for backbones of one architecture."""
    names = [stream if isinstance(stream, str) else None for stream in (backbone, backbone_b)]
    if isinstance(weights, (tuple, list)):
        if len(weights) != 2:
            remedy = "Pass a pair for two streams, with None for one that needs no weights."
            received = f"{len(weights)} values"
            refuse(ValueError, "BCNN", "weights must be one value or a pair", received, remedy)
        first, second = weights
    else:
        if weights not in (None, "imagenet") and None not in names and names[0] != names[1]:
            invariant = "one file of weights must fit both streams"
            received = f"{weights!r} for {names[0]!r} and {names[1]!r}"
            refuse(ValueError, "BCNN", invariant, received, "Pass a pair, one file for each.")
        nowhere = not any(names)  # the check below then refuses the weights
        first, second = (weights if name or nowhere else None for name in names)
    for name, value in zip(names, (first, second), strict=True):
        if name is None and value is not None:
            invariant = "weights must be for a named backbone"
            remedy = "Load the weights of a custom module before passing it."
            refuse(ValueError, "BCNN", invariant, f"{value!r} for a stream without a name", remedy)
    return first, second


def weights_preprocessing(
    weights: Any, backbone: object, backbone_b: object = None, in_channels: int = IN_CHANNELS
) -> Preprocessing | None:
    """Return the preprocessing that pretrained weights expect; None without weights."""
    sources = stream_weights(weights, backbone, backbone_b)
    named = zip((backbone, backbone_b), sources, strict=True)
    stated = [_stated(name, source) for name, source in named if source is not None]
    if len(set(stated)) == 2:
        invariant = "weights of both streams must expect the same preprocessing of the image"
        remedy = (
            "Use files of Keras for both streams, or for none, and the weights of Inception v3 "
            "for both, or for none."
        )
        refuse(ValueError, "BCNN", invariant, repr(weights), remedy)
    return convert_preprocessing(stated[0], in_channels) if stated else None


def convert_preprocessing(preprocessing: Preprocessing, count: int) -> Preprocessing:
    """Convert mean and std of RGB to `count` channels, for the kernels of `adapt_channels`.

    One channel takes the averages of red, green and blue. More channels take them in turn.
    """
    if count == IN_CHANNELS:
        return preprocessing
    mean, std = (_per_channel(x, count) for x in (preprocessing.mean, preprocessing.std))
    return replace(preprocessing, mean=mean, std=std)


def _stated(backbone: object, source: str | os.PathLike) -> Preprocessing:
    if os.fsdecode(source).lower().endswith(keras_weights.SUFFIXES):
        return keras_weights.PREPROCESSING
    return _HALVES if backbone == "inception_v3" else Preprocessing()


def _per_channel(values: Sequence[float], count: int) -> tuple[float, ...]:
    if count == 1:
        return (math.fsum(values) / len(values),)
    return tuple(itertools.islice(itertools.cycle(values), count))


def adapt_channels(kernel: np.ndarray, count: int) -> np.ndarray:
    """Convert the kernel of a first convolution (O, 3, h, w) to `count` channels, as timm does.

    One channel takes the sum of the kernels of red, green and blue, so that a gray image gives
    what it gives as three equal channels. More channels take them in turn, times 3 / `count`.
    """
    wide = kernel.astype(np.float64)
    if count == 1:
        wide = wide.sum(1, keepdims=True)
    else:
        wide = wide[:, np.arange(count) % IN_CHANNELS] * (IN_CHANNELS / count)
    return np.ascontiguousarray(wide, kernel.dtype)


def backbone_tensors(
    backbone: str,
    weights: str | os.PathLike,
    in_channels: int = IN_CHANNELS,
    *,
    read_pth: ReadPth | None = None,
) -> dict[str, np.ndarray]:
    """Return a pretrained backbone as {canonical name without prefix: array}, in the file's dtype.

    ``"imagenet"`` is downloaded once, then read from the cache; its pinned hash is checked.
    A file for color images is adapted to other `in_channels` by `adapt_channels`.
    """
    expected = tensor_shapes(backbone)
    first = next(iter(expected))
    path = fetch(backbone) if weights == "imagenet" else _existing(weights)
    op = f"weights {path}"
    if path.lower().endswith(keras_weights.SUFFIXES):
        tensors = keras_weights.keras_tensors(op, backbone, path)
        return _with_channels(tensors, first, in_channels)

    def known(name: str) -> bool:
        return name in expected or name.startswith(HEADS)

    with open_state(op, path, read_pth, known, "BCNN(..., weights=path)") as state:
        own = tensor_shapes(backbone, None, in_channels)
        if first in state.specs and state.specs[first].shape == own[first]:
            expected = own
        _check_backbone(op, backbone, expected, state.specs)
        tensors = {name: check_finite(op, name, state.read(name)) for name in expected}
    return _with_channels(tensors, first, in_channels)


def _with_channels(
    tensors: dict[str, np.ndarray], first: str, in_channels: int
) -> dict[str, np.ndarray]:
    if tensors[first].shape[1] == in_channels:
        return tensors
    return tensors | {first: adapt_channels(tensors[first], in_channels)}


def _check_backbone(
    op: str, backbone: str, shapes: Mapping[str, Shape], found: Mapping[str, Spec]
) -> None:
    found = {name: known for name, known in found.items() if not name.startswith(HEADS)}
    expected = float_specs(op, found, shapes, _BACKBONE)
    remedy = f"This is not {backbone}. {_BACKBONE}"
    if any(name.startswith("backbone.") for name in found):
        remedy = "This is a whole B-CNN: pass its portable file alone, or open it with load(path). "
        remedy += "bilinear convert makes a portable file of a checkpoint."
    check_layout(op, found, expected, remedy)


def _existing(weights: str | os.PathLike) -> str:
    """Return the path as text. Raises: an error that says what `weights` can be."""
    path = os.fsdecode(weights)
    known = path.lower().endswith((".safetensors", *PTH, *keras_weights.SUFFIXES))
    listed = f".safetensors, {', '.join(PTH)} or {keras_weights.SUFFIXES[0]}"
    invariant = f"weights must be 'imagenet' or the path of a {listed} file"
    if not os.path.exists(path):
        kind = FileNotFoundError if known else ValueError
        remedy = "Check the spelling; 'imagenet' fetches the pretrained network."
        refuse(kind, "BCNN", invariant, f"{path!r}, which does not exist", remedy)
    if not known:
        remedy = "Rename it with the suffix of its format."
        refuse(ValueError, "BCNN", invariant, repr(path), remedy)
    return path


def fetch(backbone: str) -> str:
    """Return the path of the pretrained weights, downloaded if they are not in the cache.

    Raises: OSError if they cannot be downloaded, within seconds if the hub does not answer;
        ValueError for another checksum.
    """
    pin = PINS[backbone]
    try:
        path = download("weights='imagenet'", pin.repository, pin.filename, revision=pin.revision)
    except Exception as error:  # each version of the client and of its transport has its own
        invariant = "weights='imagenet' must be in the cache of huggingface_hub or be downloaded"
        size = f" ({pin.size:,} bytes)" if pin.size else ""
        revision = f" at revision {pin.revision}" if pin.revision else ""
        remedy = (
            f"Download {pin.filename}{size} of the repository {pin.repository}{revision} by hand "
            "and pass its path as weights=, in a recipe as model.weights."
        )
        received = f"{type(error).__name__}: {error}"
        raise OSError(message("BCNN", invariant, received, remedy)) from error
    if pin.sha256 and (found := file_checksum(path)) != pin.sha256:
        stored = os.path.realpath(path)  # the cache links to it, and would link to it again
        invariant = f"{path} must have the sha256 {pin.sha256}"
        refuse(ValueError, "BCNN", invariant, found, f"Delete {stored} and download it again.")
    return path
