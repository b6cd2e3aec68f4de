"""``bilinear descriptors``: write the descriptors of images to a file."""

from pathlib import Path
from typing import Annotated

import typer

from .._files import check_outputs, file_checksum
from ..analysis.descriptors import check_disk_space, files_of, write_descriptors
from ..contract import refuse
from ..data.formats import is_image
from ..data.listing import list_folder
from ..models import pools
from ..models.checkpoint import read_description
from . import _options
from ._console import Progress, say
from ._dataset import open_data, select_split
from ._errors import SOME_FAILED
from ._images import Images, Reader, find_images
from ._model import Model

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="The folder of a data set; or image files, folders, quoted glob patterns.",
        metavar="IMAGES...",
    ),
]
Out = Annotated[Path, typer.Argument(help="Output file, .npy or .safetensors.", metavar="OUT")]
Mirror = Annotated[
    bool,
    typer.Option("--mirror", help="Also write the descriptor of each image's mirror image."),
]
SplitName = Annotated[
    str, typer.Option("--split", metavar="all|train|validation|test", help="Split of the data set.")
]


def descriptors(
    file: _options.ModelFile,
    images: Inputs,
    out: Out,
    split: SplitName = "all",
    mirror: Mirror = False,
    fraction: _options.Fraction = None,
    seed: _options.Seed = None,
    kind: _options.Kind = None,
    subset: _options.Subset = False,
    boxes: _options.Boxes = False,
    level: _options.Level = None,
    framework: _options.Framework = None,
    allow_import: _options.AllowImport = False,
    batch_size: _options.BatchSize = 32,
    workers: _options.Workers = 4,
) -> None:
    """Write the descriptors of images as float32, and their paths and labels to OUT.json.

    An image that cannot be read is named on stderr and skipped, and the exit code is 1.
    """
    folder = _data_folder(images)
    if folder is None:
        if boxes or level:
            invariant = "--boxes and --level require the folder of a data set"
            refuse(ValueError, "descriptors", invariant, "images", "Leave them out.")
        selected = find_images(images)
    else:
        index = open_data(folder, kind, subset, boxes, level)
        _, chosen, _ = select_split(file, index, split, fraction, seed)
        selected = Images(index.root, chosen, index.classes)
    inputs = (selected.root / item.path for item in selected.items)
    check_outputs(files_of(out), [file, *inputs])
    description = read_description(file)
    if pools.is_classifier(description.pooling):
        received = f"{description.pooling['name']}, which has none"
        invariant = "the model must have a descriptor and a linear classifier"
        refuse(ValueError, f"{file}", invariant, received, "Use bilinear predict for its logits.")
    size = description.descriptor_size
    count = len(selected.items) * (2 if mirror else 1)
    needed, free = check_disk_space(out, count, size)
    space = f"{needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB free"
    say(f"{out}: {count:,} descriptors of {size:,} float32, {space}")
    model = Model(file, framework, min(batch_size, len(selected.items)), allow_import)
    reader = Reader(selected, model.preprocessing, workers)
    about = {"model": str(file), "sha256": file_checksum(file), "classes": selected.classes}
    with Progress(len(selected.items)) as progress, write_descriptors(out, size, **about) as writer:
        for views, items in reader.batches(model.batch_size, progress.advance):
            paths = [str(selected.root / item.path) for item in items]
            for given in [views, views[:, :, ::-1]] if mirror else [views]:
                writer.append(model.descriptors(given), paths, [item.label for item in items])
            progress.advance(len(items))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def _data_folder(inputs: list[str]) -> Path | None:
    """Return the folder of a data set: a single folder with no image directly in it; else None."""
    folder = Path(inputs[0])
    if len(inputs) > 1 or not folder.is_dir():
        return None
    return None if any(map(is_image, list_folder(folder)[1])) else folder
