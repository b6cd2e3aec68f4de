"""``bilinear evaluate``: how good a model is on a part of a data set."""

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .._files import replacing
from ..analysis import metrics
from ..contract import refuse
from ..models.checkpoint import read_description
from ..models.description import Description
from ._console import Progress
from ._dataset import cut_of, dataset, part_of
from ._errors import SOME_FAILED
from ._images import Images, Reader
from ._model import Model
from ._options import (
    AsJson,
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

Data = Annotated[Path, typer.Argument(help="The folder of a data set.", metavar="DATA")]
Out = Annotated[Path | None, typer.Option(help="A folder for metrics.json and confusion.csv.")]
Part = Annotated[str, typer.Option(metavar="test|validation|train", help="Of the data set.")]
MIRROR = "Average the logits of image and mirror image."


def evaluate(
    file: ModelFile,
    data: Data,
    part: Part = "test",
    fraction: Fraction = None,
    seed: Seed = None,
    mirror: Annotated[bool, typer.Option("--mirror", help=MIRROR)] = False,
    out: Out = None,
    as_json: AsJson = False,
    kind: Kind = None,
    subset: Subset = False,
    boxes: Boxes = False,
    level: Level = None,
    framework: Framework = None,
    batch_size: BatchSize = 32,
    workers: Workers = 4,
) -> None:
    """Print loss, accuracy and calibration on a part of a data set, as a whole and by class.

    An image that cannot be read is named on stderr and left out, and the exit code is 1.
    """
    index = dataset(data, kind, subset, boxes, level)
    cut = cut_of(file, index, part, fraction, seed)
    items = part_of(index, part, cut)
    check_classes(read_description(file), index.classes)
    model = Model(file, framework, min(batch_size, len(items)))
    reader = Reader(Images(index.root, items, index.classes), model.preprocessing, workers)
    logits: list[np.ndarray] = []
    labels: list[int] = []
    with Progress(len(items)) as progress:
        for batch in reader.batches(model.batch_size, progress.advance):
            logits.append(model.logits(batch.images))
            if mirror:
                logits[-1] = (logits[-1] + model.logits(batch.images[:, :, ::-1])) / 2
            labels += [item.label for item in batch.items]
            progress.advance(len(batch.items))
    about = {"model": str(file), "data": str(data), "part": part, **cut, "skipped": reader.failed}
    about |= {"framework": model.framework, "device": model.device}
    about["logits"] = "means of image and mirror image" if mirror else "of the image"
    if not labels:
        invariant, remedy = "some image must be readable", "Mend the data set."
        refuse(ValueError, f"{data}", invariant, "none", remedy)
    scores = np.concatenate(logits)
    if not np.isfinite(scores).all():
        remedy = "Images or activations leave the range of the model's dtype."
        refuse(ValueError, f"{file}", "logits must be finite", "NaN or an infinity", remedy)
    confusion = metrics.confusion_matrix(scores, np.array(labels))
    report = about | measured(scores, np.array(labels), confusion, index.classes)
    if out:
        _write(out, report, confusion, index.classes)
    print(json.dumps(report) if as_json else text_of(report))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def check_classes(description: Description, classes: tuple[str, ...]) -> None:
    """ValueError unless a model and data of `classes` number the same classes alike.

    A model that was saved without the names of its classes must have as many.
    """
    remedy = "Evaluate on the classes, in the order, that the model was trained with."
    mine, count = description.classes, description.num_classes
    if mine is None and count != len(classes):
        received = f"{count} in the model and {len(classes)} in the data"
        refuse(ValueError, "evaluate", "classes must be as many", received, remedy)
    if mine is None or mine == classes:
        return
    sides = {"model": set(mine) - set(classes), "data": set(classes) - set(mine)}
    found = [
        f"only in the {side}: {', '.join(sorted(names)[:5])}{', …' if len(names) > 5 else ''}"
        for side, names in sides.items()
        if names
    ]
    if not found:
        pairs = enumerate(zip(mine, classes, strict=True))
        place, (one, other) = next((k, pair) for k, pair in pairs if pair[0] != pair[1])
        found = [f"class {place} is {one} in the model, {other} in the data"]
    invariant = "the classes of model and data must agree"
    refuse(ValueError, "evaluate", invariant, "; ".join(found), remedy)


def measured(
    logits: np.ndarray, labels: np.ndarray, confusion: np.ndarray, classes: tuple[str, ...]
) -> dict[str, Any]:
    """All numbers of a report, as JSON has them: a class without images has no accuracy."""
    each = metrics.class_accuracies(confusion)
    counts = confusion.sum(1).tolist()
    rows = zip(classes, counts, each.tolist(), strict=True)
    return {
        "images": len(labels),
        "loss": metrics.cross_entropy(logits, labels),
        "top1": metrics.top_k_accuracy(logits, labels, 1),
        "top5": metrics.top_k_accuracy(logits, labels, 5),
        "mean_class_accuracy": float(np.nanmean(each)),
        "calibration_error": metrics.calibration_error(logits, labels),
        "calibration_bins": metrics.BINS,
        "classes": [{"class": c, "images": n, "accuracy": a if n else None} for c, n, a in rows],
        "confusion": confusion.tolist(),
    }


def text_of(report: dict[str, Any]) -> str:
    """A report for people: numbers, classes, and of the confusion the pairs that matter most."""
    *keys, classes, confusion = report
    lines = [f"{key.replace('_', ' '):20}{_number(report[key])}" for key in keys]
    rows = [(_number(row["accuracy"]), row["images"], row["class"]) for row in report[classes]]
    lines.append("accuracy, images and name of each class:")
    lines += [f"  {accuracy:>6}  {images:>6,}  {name}" for accuracy, images, name in rows]
    names = [row["class"] for row in report[classes]]
    if pairs := most_confused(np.array(report[confusion])):
        lines.append("most confused, images and names of the classes:")
        lines += [f"  {n:>6,}  {names[i]} taken for {names[j]}" for i, j, n in pairs]
    return "\n".join(lines)


def most_confused(confusion: np.ndarray, count: int = 5) -> list[tuple[int, int, int]]:
    """Up to `count` times (class, class it was taken for, images), the most images first.

    Of as many images the first class comes first. Empty where nothing was taken for another.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(wrong)) for place in order]
    return [(i, j, int(wrong[i, j])) for i, j in places if wrong[i, j]]


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else f"{value}"


def _write(
    folder: Path, report: dict[str, Any], confusion: np.ndarray, classes: tuple[str, ...]
) -> None:
    """metrics.json, and confusion.csv with a row for each true class, a column for each guess."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "metrics.json") as path:
        Path(path).write_text(json.dumps(report, indent=1), encoding="utf-8")
    with (
        replacing(folder / "confusion.csv") as path,
        open(path, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *classes])
        writer.writerows(
            [name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)
        )
