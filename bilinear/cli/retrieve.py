"""``bilinear retrieve``: the images whose descriptors are most similar to that of an image."""

from pathlib import Path
from typing import Annotated

import typer

from .._json import format_json
from ..analysis.descriptors import nearest
from ..data.images import normalize
from ._console import show
from ._images import read_one
from ._model import Model, open_rows
from ._options import AllowImport, AsJson, Banner, Framework, ModelFile

Descriptors = Annotated[
    Path, typer.Argument(help="A file written by bilinear descriptors.", metavar="DESCRIPTORS")
]
Image = Annotated[Path, typer.Argument(help="The image to search for.", metavar="IMAGE")]


def retrieve(
    source: Descriptors,
    file: ModelFile,
    image: Image,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of images to print.")] = 5,
    banner: Banner = 0,
    as_json: AsJson = False,
    framework: Framework = None,
    allow_import: AllowImport = False,
) -> None:
    """Print the most similar images (cosine similarity of descriptors), most similar first."""
    descriptors, rows = open_rows("retrieve", source, file)
    model = Model(file, framework, 1, allow_import)
    pixels = read_one(image, model.preprocessing, banner)
    query = model.descriptors(normalize(pixels[None], model.preprocessing))[0]
    for row, similarity in zip(*nearest(descriptors, query, k), strict=True):
        label = rows.labels[row]
        name = rows.classes[label] if label >= 0 else None
        if as_json:
            found = {"image": rows.paths[row], "class": name, "similarity": float(similarity)}
            show(format_json(found))
        else:
            show(f"{similarity:.4f}  {rows.paths[row]}" + (f"  {name}" if name else ""))
