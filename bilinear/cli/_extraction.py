"""What ``bilinear descriptors`` and ``reduction`` share: images, and a fitted reduction."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..analysis.reduction import (
    Reduction,
    check_sample,
    fit_reduction,
    open_reduction,
    write_reduction,
)
from ..contract import refuse
from ..data.formats import is_image
from ..data.listing import list_folder
from ..models import pools
from ..models.checkpoint import read_description
from ..models.description import Description
from ._console import Progress, say
from ._dataset import open_data, select_split
from ._images import Images, Reader, find_images
from ._model import Model

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="The folder of a data set; or image files, folders, quoted glob patterns.",
        metavar="IMAGES...",
    ),
]
SplitName = Annotated[
    str, typer.Option("--split", metavar="all|train|validation|test", help="Split of the data set.")
]
Sample = Annotated[
    int, typer.Option(min=2, help="Images, chosen at random, that a reduction is fitted to.")
]
SAMPLE = 16_384


def select_images(
    file: Path,
    inputs: list[str],
    split: str,
    fraction: float | None,
    seed: int | None,
    kind: str | None,
    subset: bool,
    boxes: bool,
    level: str | None,
) -> Images:
    """The images of a split of a data set, or of files, folders and globs."""
    folder = _data_folder(inputs)
    if folder is None:
        if boxes or level:
            invariant = "--boxes and --level require the folder of a data set"
            refuse(ValueError, "descriptors", invariant, "images", "Leave them out.")
        return find_images(inputs)
    index = open_data(folder, kind, subset, boxes, level)
    _, chosen, _ = select_split(file, index, split, fraction, seed)
    return Images(index.root, chosen, index.classes)


def describe(file: Path) -> Description:
    """The description of a model. Raises: ValueError for a model without a descriptor."""
    description = read_description(file)
    if pools.is_classifier(description.pooling):
        received = f"{description.pooling['name']}, which has none"
        invariant = "the model must have a descriptor and a linear classifier"
        refuse(ValueError, f"{file}", invariant, received, "Use bilinear predict for its logits.")
    return description


def write_fitted_reduction(
    path: Path, model: Model, sha256: str, images: Images, size: int, sample: int, workers: int
) -> int:
    """Fit a reduction to a random sample of the images, always the same one, in random order.

    Returns: number of images that could not be read.
    """
    count = len(images.items)
    chosen = np.random.default_rng(0).choice(count, min(count, sample), replace=False)
    check_sample(size, len(chosen), model.description.descriptor_size)
    images = images._replace(items=[images.items[k] for k in chosen])
    reader = Reader(images, model.preprocessing, workers)

    def batches() -> Iterator[np.ndarray]:
        with Progress(len(chosen)) as progress:
            for views, items in reader.batches(model.batch_size, progress.advance):
                yield model.descriptors(views)
                progress.advance(len(items))

    mean, weight, share, count = fit_reduction(batches(), size)
    write_reduction(path, mean, weight, sha256=sha256)
    values = f"{len(mean):,} to {size:,} values with {share:.1%} of the variance"
    say(f"{path}: {values} of the descriptors of {count:,} images")
    return reader.failed


def open_reduction_of(op: str, path: Path, file: Path, sha256: str) -> Reduction:
    """Open a reduction. Raises: ValueError unless it is of descriptors of the model `file`."""
    reduction = open_reduction(path)
    if reduction.sha256 != sha256:
        invariant = f"{path} must be fitted to descriptors of {file}"
        remedy = "Use that model, or fit a reduction again."
        refuse(ValueError, op, invariant, "a reduction for another model", remedy)
    return reduction


def _data_folder(inputs: list[str]) -> Path | None:
    """Return the folder of a data set: a single folder with no image directly in it; else None."""
    folder = Path(inputs[0])
    if len(inputs) > 1 or not folder.is_dir():
        return None
    return None if any(map(is_image, list_folder(folder)[1])) else folder
