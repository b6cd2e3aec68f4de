"""``bilinear retrieve``: the images whose descriptors are most similar to that of an image."""

from pathlib import Path
from typing import Annotated

import typer

from .._json import format_json
from ..analysis.descriptors import nearest
from ..analysis.reduction import Reduction, open_reduction, reduction_of
from ..analysis.search import KINDS, open_search
from ..analysis.shards import Collection
from ..contract import refuse
from ..data.images import normalize
from ._console import say, show
from ._images import read_one
from ._model import Model, check_source
from ._options import AllowImport, AsJson, Banner, Framework, ModelFile

Descriptors = Annotated[
    Path,
    typer.Argument(
        help="A file, or a folder of shards, written by bilinear descriptors.",
        metavar="DESCRIPTORS",
    ),
]
Image = Annotated[Path, typer.Argument(help="The image to search for.", metavar="IMAGE")]
Kind = Annotated[
    str | None,
    typer.Option(
        "--index",
        help="Search in a FAISS index beside DESCRIPTORS, built the first time. "
        "Default: compare all descriptors without FAISS.",
        metavar="|".join(KINDS),
    ),
]


def retrieve(
    source: Descriptors,
    file: ModelFile,
    image: Image,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of images to print.")] = 5,
    index: Kind = None,
    banner: Banner = 0,
    as_json: AsJson = False,
    framework: Framework = None,
    allow_import: AllowImport = False,
) -> None:
    """Print the most similar images (cosine similarity of descriptors), most similar first."""
    descriptors = Collection(source)
    check_source("retrieve", source, descriptors.rows(0), file)
    reduction = _reduction(descriptors) if descriptors.reduction else None
    search = open_search(descriptors, index, say) if index else None
    model = Model(file, framework, 1, allow_import)
    pixels = read_one(image, model.preprocessing, banner)
    query = model.descriptors(normalize(pixels[None], model.preprocessing))
    query = (reduction(query) if reduction else query)[0]
    found = search.nearest(descriptors, query, k) if search else nearest(descriptors, query, k)
    for row, similarity in zip(*found, strict=True):
        path, name = descriptors.image(row)
        if as_json:
            show(format_json({"image": path, "class": name, "similarity": float(similarity)}))
        else:
            show(f"{similarity:.4f}  {path}" + (f"  {name}" if name else ""))


def _reduction(descriptors: Collection) -> Reduction:
    """The reduction of the descriptors. Raises: ValueError if the file has been replaced."""
    path = reduction_of(descriptors.source)
    reduction = open_reduction(path)
    if reduction.checksum != descriptors.reduction:
        invariant = f"{path} must be the reduction of {descriptors.source}"
        remedy = "Restore the file, or write the descriptors again."
        refuse(ValueError, "retrieve", invariant, "another reduction", remedy)
    return reduction
