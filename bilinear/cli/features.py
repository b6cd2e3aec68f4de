"""``bilinear features``: the descriptors of images, in a file."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from ..analysis.descriptors import check_room, features_file
from ..contract import refuse
from ..data.folder import is_image
from ..models import pools
from ..models.checkpoint import read_description
from ..models.description import Description
from ._console import Progress, say
from ._dataset import cut_of, dataset, part_of
from ._errors import SOME_FAILED
from ._images import Images, Reader, listed
from ._model import Model
from ._options import (
    BatchSize,
    Boxes,
    Fraction,
    Framework,
    Kind,
    Level,
    ModelFile,
    Seed,
    Subset,
    Workers,
)

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="The folder of a data set; or images, folders, globs.", metavar="IMAGES..."
    ),
]
Out = Annotated[Path, typer.Argument(help="A name in .npy or .safetensors.", metavar="OUT")]
Part = Annotated[str, typer.Option(metavar="all|train|validation|test", help="Of a data set.")]


def features(
    file: ModelFile,
    images: Inputs,
    out: Out,
    part: Part = "all",
    fraction: Fraction = None,
    seed: Seed = None,
    kind: Kind = None,
    subset: Subset = False,
    boxes: Boxes = False,
    level: Level = None,
    framework: Framework = None,
    batch_size: BatchSize = 32,
    workers: Workers = 4,
) -> None:
    """Write the descriptors of images as float32, with paths and labels in OUT.json.

    An image that cannot be read is named on stderr and left out, and the exit code is 1.
    """
    folder = _folder(images)
    if folder is None:
        if boxes or level:
            remedy = "Name its folder alone, or leave them out."
            refuse(
                ValueError, "features", "--boxes and --level are of a data set", "images", remedy
            )
        wanted = listed(images)
    else:
        index = dataset(folder, kind, subset, boxes, level)
        cut = cut_of(file, index, part, fraction, seed)
        items = index.items if part == "all" else part_of(index, part, cut)
        wanted = Images(index.root, items, index.classes)
    description = read_description(file)
    check_descriptors(file, description)
    size = description.descriptor_size
    needed, free = check_room(out, len(wanted.items), size)
    room = f"{needed / 2**20:,.0f} MiB of {free / 2**20:,.0f} MiB free"
    say(f"{out}: {len(wanted.items):,} descriptors of {size:,} float32, {room}")
    model = Model(file, framework, min(batch_size, len(wanted.items)))
    reader = Reader(wanted, model.preprocessing, workers)
    about = {"model": str(file), "sha256": checksum(file), "classes": wanted.classes}
    with Progress(len(wanted.items)) as progress, features_file(out, size, **about) as writer:
        for batch in reader.batches(model.batch_size, progress.advance):
            paths = [str(wanted.root / item.path) for item in batch.items]
            labels = [item.label for item in batch.items]
            writer.append(model.descriptors(batch.images), paths, labels)
            progress.advance(len(batch.items))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def check_descriptors(file: Path, description: Description) -> None:
    """ValueError for a model without descriptors."""
    pooling = description.pooling
    if pools.is_classifier(pooling):
        remedy = "Only the logits of this model exist: bilinear predict."
        invariant = "descriptors are what a linear classifier sees"
        refuse(ValueError, f"{file}", invariant, f"a {pooling['name']}", remedy)


def checksum(file: Path) -> str:
    """sha256 of a file's content."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folder(inputs: list[str]) -> Path | None:
    """That of a data set, which is a single one without images of its own; None for images."""
    folder = Path(inputs[0])
    if len(inputs) > 1 or not folder.is_dir():
        return None
    return None if any(is_image(path.name) for path in folder.iterdir()) else folder
