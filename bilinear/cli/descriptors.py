"""``bilinear descriptors``: write the descriptors of images to a file, or to a file of many."""

import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .._files import check_outputs, file_checksum, replace_file
from .._require import require_packages
from ..analysis.descriptors import check_disk_space, dtype_of, files_of, write_descriptors
from ..analysis.reduction import open_reduction, reduction_of
from ..analysis.shards import Index, checksum_of_images, shard_of, write_index
from ..contract import refuse
from ..data.index import Item
from . import _options
from ._console import Progress, say
from ._errors import SOME_FAILED
from ._extraction import (
    SAMPLE,
    Inputs,
    Sample,
    SplitName,
    describe,
    open_reduction_of,
    select_images,
    write_fitted_reduction,
)
from ._images import Reader
from ._model import Model
from ._shard import parse_shard

Out = Annotated[
    Path,
    typer.Argument(
        help="Output file, .npy or .safetensors; with --shard, the folder of all shards.",
        metavar="OUT",
    ),
]
Mirror = Annotated[
    bool,
    typer.Option("--mirror", help="Also write the descriptor of each image's mirror image."),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="Write shard I of N, counted from 0; auto: take I and N from torchrun or srun.",
        metavar="I/N|auto",
    ),
]
Reduce = Annotated[
    str | None,
    typer.Option(
        help="Reduce to this number of values in float16, by PCA with whitening that is fitted to "
        "a sample of the images; or with a file that bilinear reduction wrote.",
        metavar="SIZE|FILE",
    ),
]


def descriptors(
    file: _options.ModelFile,
    images: Inputs,
    out: Out,
    split: SplitName = "all",
    mirror: Mirror = False,
    shard: Shard = None,
    reduce: Reduce = None,
    sample: Sample = SAMPLE,
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
    """Write the descriptors of images to OUT, and their paths and labels to OUT.json.

    With --shard, several processes write one folder together, in any order.

    An image that cannot be read is named on stderr and skipped, and the exit code is 1.
    """
    number, shards = parse_shard(shard) if shard else (0, 1)
    fitted = int(reduce) if reduce and reduce.isdecimal() else 0
    if fitted:
        _check_fit(fitted, shard)
    selected = select_images(file, images, split, fraction, seed, kind, subset, boxes, level)
    description, sha256 = describe(file), file_checksum(file)
    given = Path(reduce) if reduce and not fitted else None
    reduction = open_reduction_of("descriptors", given, file, sha256) if given else None
    size = len(reduction.weight) if reduction else fitted or description.descriptor_size
    checksum = reduction.checksum if reduction else ""
    of_images = checksum_of_images(selected.items, selected.classes, mirror) if shard else ""
    index = Index(shards, len(selected.items), size, sha256, checksum, of_images)
    part = selected._replace(items=shard_of(selected.items, number, shards))
    path, beside = out, reduction_of(out)
    if shard:
        out.mkdir(exist_ok=True)
        path = index.path(out, number)
    check_outputs(files_of(path), chain([file, given or file], selected.paths()))
    if reduce:
        check_outputs([beside], chain([file], selected.paths()))
    _report_space(path, len(part.items) * (1 + mirror), size, dtype_of(reduce or "").name)
    if shard:
        write_index(out, index)
    model = Model(file, framework, min(batch_size, len(part.items)), allow_import)
    failed = 0
    if fitted:
        failed = write_fitted_reduction(beside, model, sha256, selected, size, sample, workers)
        reduction = open_reduction(beside)
    elif given and not (beside.exists() and beside.samefile(given)):
        with replace_file(beside) as temporary:
            shutil.copyfile(given, temporary)
    reader = Reader(part, model.preprocessing, workers)
    about = {"model": str(file), "sha256": sha256, "classes": part.classes}
    about["reduction"] = reduction.checksum if reduction else ""
    with Progress(len(part.items)) as progress, write_descriptors(path, size, **about) as writer:
        for whole, items in _compute(model, reader, progress, mirror):
            paths = [str(part.root / item.path) for item in items]
            rows = reduction(whole) if reduction else whole
            writer.append(rows, paths, [item.label for item in items])
    if failed or reader.failed:
        raise typer.Exit(SOME_FAILED)


def _report_space(path: Path, count: int, size: int, dtype: str) -> None:
    needed, free = check_disk_space(path, count, size, dtype)
    space = f"{needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB free"
    say(f"{path}: {count:,} descriptors of {size:,} {dtype}, {space}")


def _compute(
    model: Model, reader: Reader, progress: Progress, mirror: bool
) -> Iterator[tuple[np.ndarray, list[Item]]]:
    """Yield the descriptors of each batch, with its images; then those of their mirror images."""
    for views, items in reader.batches(model.batch_size, progress.advance):
        for oriented in [views, views[:, :, ::-1]] if mirror else [views]:
            yield model.descriptors(oriented), items
        progress.advance(len(items))


def _check_fit(size: int, shard: str | None) -> None:
    """Refuse a reduction to `size` values that cannot be fitted here."""
    if shard:
        invariant = "all shards must have the same reduction, fitted before"
        remedy = "Run bilinear reduction once, and pass the file that it writes to --reduce."
        refuse(ValueError, "descriptors", invariant, f"--reduce {size}", remedy)
    require_packages("bilinear descriptors --reduce", ("sklearn",), "retrieval")
