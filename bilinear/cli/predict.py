"""``bilinear predict``: the likeliest classes of images."""

import json
import sys
from typing import Annotated

import numpy as np
import typer

from ..analysis.metrics import softmax, top_k
from ._console import Progress
from ._errors import SOME_FAILED
from ._images import Reader, listed
from ._model import Model
from ._options import AsJson, Banner, BatchSize, Framework, Inputs, ModelFile, Workers


def predict(
    file: ModelFile,
    images: Inputs,
    top: Annotated[int, typer.Option("-k", "--top", min=1, help="Classes for each image.")] = 5,
    banner: Banner = 0,
    as_json: AsJson = False,
    framework: Framework = None,
    batch_size: BatchSize = 8,
    workers: Workers = 4,
) -> None:
    """Print the likeliest classes of each image, with probabilities, one line an image.

    An image that cannot be read is named on stderr, the others go on, and the exit code is 1.
    """
    wanted = listed(images, banner)
    model = Model(file, framework, min(batch_size, len(wanted.items)))
    reader = Reader(wanted, model.preprocessing, workers)
    with Progress(len(wanted.items), bar=not sys.stdout.isatty()) as progress:
        for batch in reader.batches(model.batch_size, progress.advance):
            logits = model.logits(batch.images)
            best, probabilities = top_k(logits, top), softmax(logits)
            for item, classes, shares in zip(batch.items, best, probabilities, strict=True):
                print(_line(item.path, classes, shares, model.classes, as_json), flush=True)
            progress.advance(len(batch.items))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def _line(
    path: str, best: np.ndarray, shares: np.ndarray, classes: tuple[str, ...], as_json: bool
) -> str:
    if not as_json:
        return "  ".join([path, *(f"{classes[k]} {shares[k]:.3f}" for k in best)])
    found = [{"class": classes[k], "index": int(k), "probability": float(shares[k])} for k in best]
    return json.dumps({"image": path, "predictions": found})
