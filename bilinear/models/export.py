"""Export of a portable file to a format for deployment, by the exporter of a framework.

    export("birds.safetensors", "birds.onnx")

docs/deployment.md describes the formats. A file is kept only if its logits are those of the model.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from .._files import check_outputs, new_folder, replace_file
from .._json import format_json
from .._require import require, require_packages
from ..contract import refuse
from ..data.images import Preprocessing, check_batch, load_pixels, normalize
from .checkpoint import read_description
from .description import Description
from .framework import networks
from .inference import Inference

NETWORK_LAYERS, NETWORK_TERMS = 20, 512 * 9
"""Number of consecutive layers with weights (18 in ResNet18, the descriptor and the classifier),
and number of products in one output value of the widest convolution."""

ROUNDINGS = NETWORK_LAYERS * NETWORK_TERMS**0.5
"""Largest ‖difference‖₂ / ‖value‖₂ of logits between two computations of the same network, in unit
roundoffs. Each layer adds the error of a sum with independent roundings, the root of its terms.
BatchNorm or Kaiming initialization prevents that it amplifies the error of its input. (Norm and
classifier sum 512² terms, whose root counts as 7 layers each; most layers have fewer than 4608.)"""

TOLERANCE = ROUNDINGS * float(np.finfo(np.float32).eps) / 2


class Form(NamedTuple):
    """A format for deployment."""

    suffix: str
    framework: str
    """The framework that writes it."""
    extra: str
    """The extra that installs what writes and runs it."""
    packages: tuple[str, ...] = ()


FORMS = {
    "ONNX": Form(".onnx", "torch", "onnx", ("onnx", "onnxscript", "onnxruntime")),
    "torch.export": Form(".pt2", "torch", "torch"),
    "LiteRT": Form(".tflite", "tensorflow", "litert", ("ai_edge_litert",)),
    "SavedModel": Form("", "tensorflow", "tensorflow"),
}
WITHOUT_EIGENVECTORS = "ONNX", "LiteRT"


class Exported(NamedTuple):
    """The result of `export`."""

    form: str
    """The format: a key of `FORMS`."""
    difference: float
    """‖difference‖₂ / ‖value‖₂ of the logits of the exported model and of the original."""
    size: int
    """Size in bytes."""


def export(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    images: Sequence[str | os.PathLike] = (),
    with_preprocessing: bool = False,
) -> Exported:
    """Export a model for any batch size, and compare it with the original.

    The target is written atomically. An existing file is replaced; an existing folder is not.

    Args:
        source: a portable file of a float32 model with its preprocessing.
        target: the file to write: ``.onnx``, ``.pt2`` or ``.tflite``; without a suffix the folder
            of a SavedModel.
        images: image files on which both models are compared, each with its mirror image. Default:
            an image of random pixels.
        with_preprocessing: whether the exported model takes pixels, (N, H, W, 3) uint8, of images
            that are resized and cropped, and normalizes them. Default False.

    Raises: ValueError for a target that is an input or has an unknown suffix, for a model that is
        not float32, has no preprocessing, or cannot be exported, and for logits that differ by more
        than `TOLERANCE`; ImportError if a package is not installed; OSError if a file cannot be
        read or written.
    """
    source, target = os.fsdecode(source), os.fsdecode(target)
    op = f"export {source}"
    check_outputs([target], [source, *images])
    name = _form(op, target)
    description = read_description(source)
    preprocessing = _check_model(op, name, description)
    form = FORMS[name]
    require(form.framework)
    require_packages(f"export to {name}", form.packages, form.extra)
    exporter = importlib.import_module(f"{__package__}.{form.framework}.export")
    files = networks(form.framework, "bcnn")
    pixels = _sample(images, preprocessing)
    normalized = normalize(pixels, preprocessing)
    given = pixels if with_preprocessing else normalized
    model = files.load(source)
    expected = Inference(model, form.framework).logits(normalized)
    with (new_folder if name == "SavedModel" else replace_file)(target) as temporary:
        text = _metadata(description, preprocessing, with_preprocessing)
        inside = preprocessing if with_preprocessing else None
        exporter.write(model, temporary, name, given, inside, text)
        difference = max(
            _difference(exporter.run(temporary, name, given[:count]), expected[:count])
            for count in (len(given), 1)
        )
        if not difference <= TOLERANCE:
            invariant = f"the logits must be those of the model within {TOLERANCE:.1g}"
            remedy = "The file was not kept. Export to another format."
            refuse(ValueError, op, invariant, f"a difference of {difference:.2g}", remedy)
        size = sum(file.stat().st_size for file in _files(temporary))
    return Exported(name, difference, size)


def _form(op: str, target: str) -> str:
    suffix = Path(target).suffix.lower()
    for name, form in FORMS.items():
        if suffix == form.suffix:
            return name
    known = ", ".join(form.suffix for form in FORMS.values() if form.suffix)
    remedy = "Without a suffix, the folder of a SavedModel is written."
    refuse(ValueError, op, f"the name must end in one of {known}", repr(target), remedy)


def _check_model(op: str, form: str, description: Description) -> Preprocessing:
    """Check what can be checked before the framework is imported."""
    if description.dtype != "float32":
        remedy = "Load the model, convert it to float32, and save it again."
        refuse(ValueError, op, "the model must be float32", description.dtype, remedy)
    if form in WITHOUT_EIGENVECTORS and _has_eigenvectors(description.pooling):
        remedy = "Train with method='newton_schulz', or export to .pt2 or a SavedModel."
        refuse(ValueError, op, f"{form} has no eigenvectors", "a pool by 'eigen'", remedy)
    if description.preprocessing is None:
        remedy = "Save the model with save(model, path, preprocessing=Preprocessing(...))."
        refuse(ValueError, op, "the file must contain the preprocessing of images", "none", remedy)
    return description.preprocessing


def _has_eigenvectors(pooling: Mapping[str, Any]) -> bool:
    inner = pooling.get("pool")
    return pooling.get("method") == "eigen" or (inner is not None and _has_eigenvectors(inner))


def _sample(images: Sequence[str | os.PathLike], preprocessing: Preprocessing) -> np.ndarray:
    """(N, H, W, 3) uint8, each image with its mirror image: PyTorch would fix a batch of 1."""
    check_batch("export", 2 * max(1, len(images)), preprocessing)
    if images:
        pixels = np.stack([load_pixels(os.fsdecode(file), preprocessing) for file in images])
    else:
        shape = (1, *preprocessing.shape, preprocessing.channels)
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.concatenate([pixels, pixels[:, :, ::-1]])


def _metadata(description: Description, preprocessing: Preprocessing, inside: bool) -> str:
    """JSON for the file: what its input is, the classes, and the version of this library."""
    return format_json(
        {
            "images": "resized and cropped pixels, uint8" if inside else "normalized images",
            "preprocessing": preprocessing.to_dict(),
            "classes": description.classes,
            "bilinear": __version__,
        }
    )


def _difference(result: np.ndarray, expected: np.ndarray) -> float:
    if result.shape != expected.shape or not np.isfinite(result).all():
        return np.inf
    return float(np.linalg.norm(result - expected) / max(np.linalg.norm(expected), 1e-30))


def _files(path: str) -> list[Path]:
    files = Path(path).rglob("*") if os.path.isdir(path) else [Path(path)]
    return [file for file in files if file.is_file()]
