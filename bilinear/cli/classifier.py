"""``bilinear classifier``: a linear SVM on descriptors, in place of the classifier of a model."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .._files import check_outputs
from .._require import require_packages
from ..analysis.descriptors import Rows, files_of
from ..analysis.linear_svm import GRID, fit_linear_svms, linear_scores
from ..analysis.metrics import top_k_accuracy
from ..contract import refuse
from ..data import Index, Item, validation_split
from ..models.checkpoint import read_description, replace_classifier
from ..models.description import Description
from ._console import say, show
from ._dataset import DEFAULTS
from ._model import open_rows
from ._options import ModelFile

Features = Annotated[
    Path,
    typer.Argument(
        help="Descriptors of the training images, written by bilinear descriptors with FILE.",
        metavar="FEATURES",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")]
C = Annotated[
    float | None,
    typer.Option(
        "--c",
        help="Penalty of the SVM; 1 is the published value. "
        f"Default: the best of {', '.join(f'{c:g}' for c in GRID)} on validation images.",
    ),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        help="Descriptors of the validation images. Default: a part of FEATURES.",
        metavar="FEATURES",
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(help="Fraction of each class of FEATURES for validation. Default: 0.1."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the validation images. Default: 0.")]


def classifier(
    features: Features,
    file: ModelFile,
    output: Output,
    c: C = None,
    validation: Validation = None,
    fraction: Fraction = None,
    seed: Seed = None,
) -> None:
    """Fit a linear SVM for each class on descriptors and write it into a copy of a model file.

    The SVMs are fitted to all images of FEATURES after C is chosen. Needs scikit-learn, but no
    framework.
    """
    require_packages("bilinear classifier", ("sklearn",), "svm")
    inputs = [features] if validation is None else [features, validation]
    check_outputs([output], [file, *(path for given in inputs for path in files_of(given))])
    op = f"classifier {features}"
    _check_options(op, c, validation, fraction, seed)
    description = read_description(file)
    descriptors, rows = open_rows("classifier", features, file)
    labels = _labels(op, description, rows)
    count = description.num_classes
    if c is None:
        if validation is None:
            options = {"fraction": fraction, "seed": seed}
            options = DEFAULTS | {k: v for k, v in options.items() if v is not None}
            held = _held_out(rows, **options)
            pair = (descriptors[held], labels[held])
            parts = (descriptors[~held], labels[~held]), pair
            share = f"{options['fraction']:g} of each class"
            say(f"validation: {share}, {held.sum():,} descriptors in all")
        else:
            found, other = open_rows("classifier", validation, file)
            own = _labels(f"classifier {validation}", description, other)
            parts = (descriptors, labels), (found, own)
        c = _choose(op, *parts, count)
    (svm,) = fit_linear_svms(descriptors, labels, count, [c])
    replace_classifier(file, output, *svm, classes=tuple(rows.classes))
    show(f"{output}: linear SVM with C = {c:g} on {len(labels):,} descriptors of {count:,} classes")


def _check_options(
    op: str, c: float | None, validation: Path | None, fraction: float | None, seed: int | None
) -> None:
    if c is not None and not 0 < c < np.inf:
        refuse(ValueError, op, "--c must be positive and finite", f"{c}", "For example --c 1.")
    given = {"--validation": validation, "--fraction": fraction, "--seed": seed}
    names = [name for name, value in given.items() if value is not None]
    if (c is not None and names) or (validation is not None and len(names) > 1):
        requirement = "at most one of --c, --validation, and --fraction with --seed must be given"
        received = ", ".join((["--c"] if c is not None else []) + names)
        refuse(ValueError, op, requirement, received, "Leave the others out.")


def _labels(op: str, description: Description, rows: Rows) -> np.ndarray:
    """The labels of the rows. Raises: ValueError unless they are labels of the model's classes."""
    mine, classes = description.classes, tuple(rows.classes)
    remedy = "Compute the descriptors of a data set with the classes of the model."
    if mine is None and description.num_classes != len(classes):
        requirement = "features and model must have the same number of classes"
        received = f"{len(classes)} in the features and {description.num_classes} in the model"
        refuse(ValueError, op, requirement, received, remedy)
    if mine is not None and mine != classes:
        only = {"features": {*classes} - {*mine}, "model": {*mine} - {*classes}}
        differences = [f"only in the {s}: {', '.join(sorted(c)[:5])}" for s, c in only.items() if c]
        if not differences:
            pairs = enumerate(zip(classes, mine, strict=True))
            k, (one, two) = next((k, pair) for k, pair in pairs if pair[0] != pair[1])
            differences = [f"class {k} is {one} in the features, {two} in the model"]
        requirement = "features and model must have the same classes in the same order"
        refuse(ValueError, op, requirement, "; ".join(differences), remedy)
    labels = np.array(rows.labels)
    if missing := [k for k in range(len(classes)) if k not in rows.labels]:
        requirement = "each class must have an image"
        refuse(ValueError, op, requirement, f"none of {classes[missing[0]]}", "Add images.")
    return labels


def _held_out(rows: Rows, fraction: float, seed: int) -> np.ndarray:
    """Whether each row is of a validation image, chosen as `validation_split` does.

    The rows of an image and of its mirror image have the same path.
    """
    images = dict(zip(rows.paths, rows.labels, strict=True))
    items = tuple(Item(f"{k}", label, "train") for k, label in enumerate(images.values()))
    index = validation_split(Index(Path(), tuple(rows.classes), items, "rows"), fraction, seed)
    pairs = zip(images, index.items, strict=True)
    held = {path for path, item in pairs if item.split == "validation"}
    return np.array([path in held for path in rows.paths])


def _choose(
    op: str,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    num_classes: int,
) -> float:
    """The value of `GRID` with the largest validation accuracy; the smaller one of equal ones."""
    descriptors, labels = validation
    if not len(labels):
        remedy = "Pass --c 1, or --validation."
        refuse(ValueError, op, "there must be a validation image", "one image a class", remedy)
    best = {}
    for c, svm in zip(GRID, fit_linear_svms(*training, num_classes, GRID), strict=True):
        best[c] = top_k_accuracy(linear_scores(svm, descriptors), labels)
        say(f"C = {c:g}: accuracy {best[c]:.1%} on {len(labels):,} validation descriptors")
    return max(best, key=lambda c: (best[c], -c))
