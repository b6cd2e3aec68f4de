"""Draw the confusion matrix that ``bilinear evaluate --out FOLDER`` writes.

python -m examples.confusion_matrix FOLDER/confusion.csv FILE.png
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def draw(axis: Axes, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Draw counts (true classes, predicted classes); the color is the share of the true class."""
    share: np.ndarray = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=color)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    for side in axis.spines.values():
        side.set_visible(False)


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    with source.open(encoding="utf-8", newline="") as file:
        (_, *classes), *rows = csv.reader(file)
    figure = Figure(figsize=(6, 5), layout="constrained")
    draw(figure.subplots(), np.array([row[1:] for row in rows], int), classes)
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    main()
