"""``bilinear predict``: the most probable classes of images."""

import sys
from typing import Annotated

import numpy as np
import typer

from .._json import format_json
from ..analysis.metrics import softmax, top_k
from ._console import Progress, show
from ._errors import SOME_FAILED
from ._images import Reader, find_images
from ._model import Model
from ._options import AllowImport, AsJson, Banner, BatchSize, Framework, Inputs, ModelFile, Workers


def predict(
    file: ModelFile,
    images: Inputs,
    top: Annotated[
        int, typer.Option("-k", "--top", min=1, help="Number of classes to print for each image.")
    ] = 5,
    banner: Banner = 0,
    as_json: AsJson = False,
    framework: Framework = None,
    allow_import: AllowImport = False,
    batch_size: BatchSize = 8,
    workers: Workers = 4,
) -> None:
    """Print the most probable classes of each image with their probabilities, one line per image.

    An image that cannot be read is named on stderr and skipped, and the exit code is 1.
    """
    selected = find_images(images, banner)
    model = Model(file, framework, min(batch_size, len(selected.items)), allow_import)
    reader = Reader(selected, model.preprocessing, workers)
    with Progress(len(selected.items), bar=not sys.stdout.isatty()) as progress:
        for views, items in reader.batches(model.batch_size, progress.advance):
            logits = model.logits(views)
            best, probabilities = top_k(logits, top), softmax(logits)
            for item, classes, values in zip(items, best, probabilities, strict=True):
                show(_line(item.path, classes, values, model.classes, as_json))
            progress.advance(len(items))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def _line(
    path: str, best: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], as_json: bool
) -> str:
    if not as_json:
        return "  ".join([path, *(f"{classes[k]} {probabilities[k]:.3f}" for k in best)])
    predictions = [
        {"class": classes[k], "index": int(k), "probability": float(probabilities[k])} for k in best
    ]
    return format_json({"image": path, "predictions": predictions})
