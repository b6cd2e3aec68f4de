"""``bilinear reduction``: fit a reduction of descriptors to a sample of images."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from .._files import check_outputs, file_checksum
from .._require import require_packages
from . import _options
from ._errors import SOME_FAILED
from ._extraction import (
    SAMPLE,
    Inputs,
    Sample,
    SplitName,
    describe,
    select_images,
    write_fitted_reduction,
)
from ._model import Model

Out = Annotated[Path, typer.Argument(help="Output file, .safetensors.", metavar="OUT")]


def reduction(
    file: _options.ModelFile,
    images: Inputs,
    out: Out,
    size: Annotated[int, typer.Option(min=1, help="Length of the reduced descriptors.")] = 512,
    sample: Sample = SAMPLE,
    split: SplitName = "all",
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
    """Fit a PCA with whitening to a sample of images, for bilinear descriptors --reduce OUT.

    An image that cannot be read is named on stderr and skipped, and the exit code is 1.
    """
    require_packages("bilinear reduction", ("sklearn",), "retrieval")
    selected = select_images(file, images, split, fraction, seed, kind, subset, boxes, level)
    check_outputs([out], chain([file], selected.paths()))
    describe(file)
    model = Model(file, framework, min(batch_size, len(selected.items)), allow_import)
    checksum = file_checksum(file)
    if write_fitted_reduction(out, model, checksum, selected, size, sample, workers):
        raise typer.Exit(SOME_FAILED)
