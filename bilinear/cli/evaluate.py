"""``bilinear evaluate``: metrics of a model on a split of a data set."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .._files import check_outputs, write_text
from .._json import format_json
from ..analysis import metrics
from ..contract import refuse
from ..models.checkpoint import read_description
from ..models.description import Description
from . import _options
from ._console import Progress, escape, say, show
from ._dataset import open_data, select_split
from ._errors import SOME_FAILED
from ._images import Images, Reader
from ._model import Model

Data = Annotated[Path, typer.Argument(help="The folder of a data set.", metavar="DATA")]
Out = Annotated[Path | None, typer.Option(help="Output folder for metrics.json and confusion.csv.")]
SplitName = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="test|validation|train|all",
        help="Split of the data set. Default: test; without test images, validation for the data "
        "of the training run, and all for other data.",
    ),
]
PERCENT = "top1", "top5", "mean_class_accuracy", "calibration_error"
MIRROR = "Average the logits of each image and its mirror image."


def evaluate(
    file: _options.ModelFile,
    data: Data,
    split: SplitName = None,
    fraction: _options.Fraction = None,
    seed: _options.Seed = None,
    mirror: Annotated[bool, typer.Option("--mirror", help=MIRROR)] = False,
    out: Out = None,
    as_json: _options.AsJson = False,
    kind: _options.Kind = None,
    subset: _options.Subset = False,
    boxes: _options.Boxes = False,
    level: _options.Level = None,
    framework: _options.Framework = None,
    allow_import: _options.AllowImport = False,
    batch_size: _options.BatchSize = 32,
    workers: _options.Workers = 4,
) -> None:
    """Print loss, accuracy, class accuracies and calibration on a split of a data set.

    An image that cannot be read is named on stderr and skipped, and the exit code is 1.
    """
    index = open_data(data, kind, subset, boxes, level)
    split, items, options = select_split(file, index, split, fraction, seed)
    if out:
        outputs = out / "metrics.json", out / "confusion.csv"
        check_outputs(outputs, [file, *(index.root / item.file for item in items)])
        out.mkdir(parents=True, exist_ok=True)
    match_classes(read_description(file), index.classes)
    model = Model(file, framework, min(batch_size, len(items)), allow_import)
    places = match_classes(model.description, index.classes)  # the file may have been replaced
    if len(places) < len(model.classes):
        share = f"{len(places):,} of {len(model.classes):,} classes of the model"
        say(f"{share} are in the data; the others can be predicted, but have no images")
    reader = Reader(Images(index.root, items, index.classes), model.preprocessing, workers)
    logits: list[np.ndarray] = []
    labels: list[int] = []
    with Progress(len(items)) as progress:
        for views, found in reader.batches(model.batch_size, progress.advance):
            logits.append(model.logits(views))
            if mirror:
                logits[-1] = logits[-1] / 2 + model.logits(views[:, :, ::-1]) / 2
            labels += [places[item.label] for item in found]
            progress.advance(len(found))
    report: dict[str, Any] = {"model": str(file), "data": str(data), "split": split, **options}
    report |= {"data_classes": len(places), "model_classes": len(model.classes)}
    report |= {"skipped": reader.failed, "framework": model.framework, "device": model.device}
    report["logits"] = "mean of image and mirror image" if mirror else "of the image"
    if not labels:
        remedy = "The errors above name the images."
        refuse(ValueError, f"{data}", "at least one image must be readable", "none", remedy)
    names = model.description.classes or index.classes
    report |= compute_report(np.concatenate(logits), np.array(labels), names)
    if out:
        _write_report(out, report)
    show(*([format_json(report)] if as_json else format_report(report).splitlines()))
    if reader.failed:
        raise typer.Exit(SOME_FAILED)


def match_classes(description: Description, classes: tuple[str, ...]) -> list[int]:
    """The label of each class in the model, by its name; without names in the file, the same label.

    Raises: ValueError for a class that the model does not have.
    """
    mine, count = description.classes, description.num_classes
    if mine is None:
        if count != len(classes):
            requirement = "model and data must have the same number of classes"
            received = f"{count} in the model and {len(classes)} in the data"
            remedy = "Save the model with the names of its classes."
            refuse(ValueError, "evaluate", requirement, received, remedy)
        return [*range(count)]
    if unknown := [name for name in classes if name not in mine]:
        more = ", …" if len(unknown) > 5 else ""
        received = f"only in the data: {', '.join(unknown[:5])}{more}"
        known = f"{', '.join(mine[:5])}{', …' if len(mine) > 5 else ''}"
        remedy = f"Rename the folders as the classes of the model: {known}"
        refuse(
            ValueError, "evaluate", "the model must have the classes of the data", received, remedy
        )
    return [mine.index(name) for name in classes]


def compute_report(
    logits: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The metrics as JSON values. The accuracy of a class without images is None."""
    confusion = metrics.confusion_matrix(logits, labels)
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


def format_report(report: dict[str, Any]) -> str:
    """The report as text: metrics, accuracy of classes with images, and the most confused pairs."""
    *keys, classes, confusion = report
    lines = [f"{key.replace('_', ' '):20}{_format(report[key], key)}" for key in keys]
    shown = [row for row in report[classes] if row["images"]]
    rows = [(f"{row['accuracy']:.1%}", row["images"], row["class"]) for row in shown]
    lines.append("accuracy, number of images and name of each class:")
    lines += [f"  {accuracy:>6}  {images:>6,}  {name}" for accuracy, images, name in rows]
    names = [row["class"] for row in report[classes]]
    if pairs := most_confused(np.array(report[confusion])):
        lines.append("most confused pairs of classes, with the number of images:")
        lines += [f"  {n:>6,}  {names[i]} predicted as {names[j]}" for i, j, n in pairs]
    return "\n".join(map(escape, lines))


def most_confused(confusion: np.ndarray, count: int = 5) -> list[tuple[int, int, int]]:
    """Return up to `count` triples (true class, predicted class, images), most images first."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    cells = [divmod(int(k), len(wrong)) for k in order]
    return [(i, j, int(wrong[i, j])) for i, j in cells if wrong[i, j]]


def _format(value: Any, key: str) -> str:
    """Accuracies in percent, as in every text of the command line; JSON has fractions."""
    if key in PERCENT:
        return f"{value:.1%}"
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write metrics.json and confusion.csv (rows: true classes, columns: predicted classes)."""
    classes = [row["class"] for row in report["classes"]]
    write_text(folder / "metrics.json", format_json(report, indent=1))
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["true \\ predicted", *classes])
    for name, row in zip(classes, report["confusion"], strict=True):
        writer.writerow([name, *row])
    write_text(folder / "confusion.csv", table.getvalue(), newline="")
