"""`bilinear explain`: where a class's score comes from, drawn over the image."""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from .._files import replacing
from ..analysis.drawing import heat_over, with_legend
from ..analysis.heat_maps import Explanation, Pair, pairs
from ..analysis.heat_maps import explain as explain_score
from ..contract import refuse
from ..data.decode import cut
from ..data.images import Preprocessing, centre_crop, cover, normalize, read_image
from ..models.checkpoint import read_description
from ..models.description import Description
from ..models.tensorfile import open_tensors
from ._console import say
from ._images import unlabelled
from ._model import chosen as chosen_framework
from ._options import AsJson, Banner, Framework, ModelFile


def explain(
    file: ModelFile,
    image: Annotated[Path, typer.Argument(help="The image to explain the score of.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    chosen: Annotated[
        str | None, typer.Option("--class", help="Name or number of a class; default: the winner.")
    ] = None,
    count: Annotated[int, typer.Option("--pairs", min=0, help="Pairs of channels to list.")] = 10,
    banner: Banner = 0,
    framework: Framework = None,
    as_json: AsJson = False,
) -> None:
    """Show which places of an image, and which pairs of channels, speak for a class.

    Red speaks for the class, blue against it. The heat sums to the class's score less its bias.
    Only models with BilinearPool and a linear classifier can be explained.
    """
    op = f"explain {file}"
    description = read_description(file)
    preprocessing = _preprocessing(op, description)
    index = None if chosen is None else _class_index(op, description, chosen)
    door = chosen_framework(framework)
    say(f"{file} in {door}")
    photograph = cut(read_image(image), unlabelled(f"{image}", banner), f"{image}")
    seen = centre_crop(cover(photograph, preprocessing, f"{image}"), preprocessing.shape)
    batch = normalize(np.asarray(seen), preprocessing)[None]
    model = importlib.import_module(f"bilinear.{door}").load(file)
    evidence = importlib.import_module(f"bilinear.models.{door}.evidence").evidence
    maps, descriptors, logits = evidence(model, batch)
    index = int(np.argmax(logits[0])) if index is None else index
    first, second = maps[0][0], maps[1][0] if len(maps) == 2 else None
    weight, bias = _classifier(op, file, index)
    found = explain_score(first, second, descriptors[0], weight, bias)
    named = description.classes[index] if description.classes else f"{index}"
    report = _report(named, index, _probability(logits[0], index), found, pairs(found, count))
    drawn = with_legend(heat_over(seen, found.heat), _legend(report))
    with replacing(output) as temporary:
        drawn.save(temporary, "PNG")
    if as_json:
        print(json.dumps(report | {"output": f"{output}"}, ensure_ascii=False))
    else:
        _show(report, output)


def _preprocessing(op: str, description: Description) -> Preprocessing:
    """Of a model that can be explained. Raises: ValueError for any other."""
    pool = description.pooling["name"]
    if pool != "BilinearPool":
        remedy = "The entries of other descriptors are not sums over locations, one pair each."
        refuse(ValueError, op, "its pool must be BilinearPool", pool, remedy)
    if description.preprocessing is None:
        remedy = "Save the model again with preprocessing=."
        refuse(ValueError, op, "the file must say how images are prepared", "nothing", remedy)
    return description.preprocessing


def _class_index(op: str, description: Description, chosen: str) -> int:
    """Of a class by its name, or else by its number from 0 up."""
    names = description.classes or ()
    if chosen in names:
        return names.index(chosen)
    if chosen.isdecimal() and int(chosen) < description.num_classes:
        return int(chosen)
    known = f"a name of the file or a number below {description.num_classes}"
    remedy = f"The first names are {', '.join(names[:5])}." if names else "The file has no names."
    refuse(ValueError, op, f"--class must be {known}", repr(chosen), remedy)


def _classifier(op: str, file: Path, index: int) -> tuple[np.ndarray, float]:
    """Weights and bias of one class, without those of the others."""
    with open_tensors(file, op) as tensors:
        weight = tensors.get_slice("classifier.weight")[index]
        return np.asarray(weight), float(tensors.get_slice("classifier.bias")[index])


def _probability(logits: np.ndarray, index: int) -> float:
    """Of the softmax."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max())
    return float(powers[index] / powers.sum())


def _report(
    named: str, index: int, probability: float, found: Explanation, strongest: list[Pair]
) -> dict[str, Any]:
    return {
        "class": named,
        "index": index,
        "score": found.score,
        "bias": found.bias,
        "probability": probability,
        "for": float(found.heat[found.heat > 0].sum()),
        "against": float(found.heat[found.heat < 0].sum()),
        "pairs": [pair._asdict() for pair in strongest],
        "heat": found.heat.tolist(),
    }


def _legend(report: dict[str, Any]) -> list[str]:
    score = f"{report['class']}: score {report['score']:.3g}, {report['probability']:.1%}"
    parts = f"for {report['for']:+.3g}, against {report['against']:+.3g}"
    return [score, f"{parts}, bias {report['bias']:+.3g}"]


def _show(report: dict[str, Any], output: Path) -> None:
    for line in (*_legend(report), f"written: {output}"):
        print(line)
    if not report["pairs"]:
        return
    table = Table("channel", "channel", "adds", "of score − bias")
    for pair in report["pairs"]:
        share = "" if pair["share"] is None else f"{pair['share']:.2%}"
        table.add_row(f"{pair['first']}", f"{pair['second']}", f"{pair['part']:.4g}", share)
    Console().print(table)
