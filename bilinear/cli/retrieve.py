"""``bilinear retrieve``: the images of a file of descriptors that are most like an image."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..analysis.descriptors import nearest, open_features
from ..contract import refuse
from ..data.decode import Decoder
from ..data.images import normalize
from ._images import unlabelled
from ._model import Model
from ._options import AsJson, Banner, Framework, ModelFile
from .features import checksum

Features = Annotated[Path, typer.Argument(help="What bilinear features wrote.", metavar="FEATURES")]
Image = Annotated[Path, typer.Argument(help="The image to compare.", metavar="IMAGE")]


def retrieve(
    features: Features,
    file: ModelFile,
    image: Image,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 5,
    banner: Banner = 0,
    as_json: AsJson = False,
    framework: Framework = None,
) -> None:
    """Print the nearest images by the inner product of unit descriptors, nearest first."""
    descriptors, rows = open_features(features)
    if checksum(file) != rows.sha256:
        remedy = "Give that model, or write the features again."
        invariant = f"{features} must be of the model it is searched with"
        refuse(ValueError, "retrieve", invariant, f"those of {rows.model}", remedy)
    model = Model(file, framework, 1)
    view = Decoder(Path(), model.preprocessing, None, seed=0)
    pixels = view(unlabelled(f"{image}", banner), 0, 0)
    query = model.descriptors(normalize(pixels[None], model.preprocessing))[0]
    for place, similarity in zip(*nearest(descriptors, query, k), strict=True):
        label = rows.labels[place]
        name = rows.classes[label] if label >= 0 else None
        if as_json:
            found = {"image": rows.paths[place], "class": name, "similarity": float(similarity)}
            print(json.dumps(found))
        else:
            print(f"{similarity:.4f}", rows.paths[place], *([name] if name else []), sep="  ")
