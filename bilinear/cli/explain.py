"""``bilinear explain``: contributions of image locations to the score of a class."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from .._files import check_outputs, name_in_errors, replace_file
from .._json import format_json
from ..analysis.drawing import add_legend, side_by_side
from ..analysis.heat_maps import explain as explain_score
from ..analysis.heat_maps import gradient_times_input, top_pairs
from ..analysis.metrics import softmax
from ..contract import refuse
from ..data.images import normalize
from ..models.checkpoint import read_description
from ..models.description import Description
from ..models.inference import Inference
from ._console import escape, say, show, writing_stdout
from ._images import read_one
from ._model import check_described, load, preprocessing_of, require_finite, select_framework
from ._options import AllowImport, AsJson, Banner, Framework, ModelFile

PAIRS = (
    "A pair is two channels of the feature map whose product increases the score. Compare pairs:",
    "one that is at the top for most images of a class is typical of this class; one that is also",
    "at the top with --class OTHER does not distinguish the two classes.",
)


def explain(
    file: ModelFile,
    image: Annotated[Path, typer.Argument(help="The image to explain.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="Name or index of a class. Default: the predicted class."),
    ] = None,
    count: Annotated[int, typer.Option("--pairs", min=0, help="Channel pairs to list.")] = 10,
    banner: Banner = 0,
    framework: Framework = None,
    allow_import: AllowImport = False,
    as_json: AsJson = False,
) -> None:
    """Show which locations of an image, and which pairs of channels, contribute to a class score.

    Red locations increase the score, blue ones decrease it. With BilinearPool, the heat map sums to
    the score minus the bias. With other pooling layers, the heat map is the gradient of the score
    times the feature map, and there are no channel pairs.
    """
    op = f"explain {file}"
    check_outputs([output], [file, image])
    description = read_description(file)
    preprocessing = preprocessing_of(description, op)
    index = None if class_name is None else _class_index(op, description, class_name)
    framework = select_framework(framework or description.framework)
    say(f"{file} in {framework}")
    pixels = read_one(image, preprocessing, banner)
    model = load(file, framework, allow_import)
    check_described(file, model, description)
    batch = normalize(pixels[None], preprocessing)
    compute = _shares if description.pooling["name"] == "BilinearPool" else _gradients
    found = compute(file, model, Inference(model, framework), batch, index, count)
    heat, chosen = found.pop("heat"), found["index"]
    report: dict[str, Any] = {
        "class": description.classes[chosen] if description.classes else f"{chosen}",
        **found,
        "for": float(heat[heat > 0].sum()),
        "against": float(heat[heat < 0].sum()),
        "heat": heat.tolist(),
    }
    rgb = np.repeat(pixels, 3 // pixels.shape[2], 2)  # of gray images, too
    drawn = add_legend(side_by_side(Image.fromarray(rgb), heat), _legend(report))
    text = format_json(report | {"output": f"{output}"})
    with replace_file(output) as temporary, name_in_errors(output):
        drawn.save(temporary, "PNG")
    if as_json:
        show(text)
    else:
        _show(report, output)


def _shares(
    file: Path, model: Any, inference: Inference, batch: np.ndarray, index: int | None, count: int
) -> dict[str, Any]:
    """The score divided among locations and pairs of channels, of the predicted class for None."""
    features, descriptors, logits = inference.stages(batch)
    require_finite(file, *features, descriptors, logits)
    index = int(np.argmax(logits[0])) if index is None else index
    first, second = features[0][0], features[1][0] if len(features) == 2 else None
    tensors = model.canonical()
    weight, bias = (
        model.to_canonical(name, tensors[name])[index]
        for name in ("classifier.weight", "classifier.bias")
    )
    found = explain_score(first, second, descriptors[0], weight, float(bias))
    return {
        "index": index,
        "method": "shares",
        "score": found.score,
        "bias": found.bias,
        "probability": float(softmax(logits[0])[index]),
        "pairs": [pair._asdict() for pair in top_pairs(found, count)],
        "heat": found.heat,
    }


def _gradients(
    file: Path, model: Any, inference: Inference, batch: np.ndarray, index: int | None, count: int
) -> dict[str, Any]:
    """The gradient of the score times the feature maps, without pairs of channels."""
    if index is None:
        index = int(np.argmax(inference.logits(batch)[0]))
    maps, slopes, logits = inference.gradients(batch, index)
    require_finite(file, *maps, *slopes, logits)
    return {
        "index": index,
        "method": "gradient times input",
        "score": float(logits[0, index]),
        "bias": None,
        "probability": float(softmax(logits[0])[index]),
        "pairs": [],
        "heat": gradient_times_input([x[0] for x in maps], [slope[0] for slope in slopes]),
    }


def _class_index(op: str, description: Description, name: str) -> int:
    """The index of a class, given by its name or its index."""
    names = description.classes or ()
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < description.num_classes:
        return int(name)
    known = f"a class name of the file or an index below {description.num_classes}"
    first = f"The first class names are {', '.join(names[:5])}."
    remedy = first if names else "The file has no class names."
    refuse(ValueError, op, f"--class must be {known}", repr(name), remedy)


def _legend(report: dict[str, Any]) -> list[str]:
    score = f"{report['class']}: score {report['score']:.3g}, {report['probability']:.1%}"
    sums = f"for {report['for']:+.3g}, against {report['against']:+.3g}"
    last = "gradient × input" if report["bias"] is None else f"bias {report['bias']:+.3g}"
    return [escape(score), f"{sums}, {last}"]


def _show(report: dict[str, Any], output: Path) -> None:
    show(*_legend(report), f"written: {output}")
    if not report["pairs"]:
        return
    table = Table("channel", "channel", "contribution", "share of score − bias")
    for pair in report["pairs"]:
        share = "" if pair["share"] is None else f"{pair['share']:.2%}"
        table.add_row(f"{pair['first']}", f"{pair['second']}", f"{pair['contribution']:.4g}", share)
    with writing_stdout():
        Console().print(table)
    show(*PAIRS)
