"""The demo's figure: crops with what was predicted and where from, and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from bilinear.torch import BCNN

matplotlib.use("Agg")  # a file is written; no window is needed

RIGHT, WRONG = "#1a7f37", "#cf222e"


@torch.inference_mode()
def evidence(model: BCNN, images: Tensor, classes: Tensor) -> Tensor:
    """Where the evidence for a class comes from: (N, h, w) at the size of the feature maps.

    The logit of class k, less the mean of all logits, is ``Σ_cd V_cd z_cd`` (and the biases')
    with the descriptor z and ``V = W_k − mean_j W_j``. Each entry is a root of a mean over
    locations, ``G_cd = mean_l x_lc x_ld``, of which location l gave ``x_lc x_ld / L``. Handing
    each entry's part of the logit back to the locations in these proportions,

        evidence_l = x_lᵀ A x_l / L        with A_cd = V_cd z_cd / G_cd, 0 where G_cd = 0,

    splits the logit exactly: the evidence of all locations sums to ``Σ_cd V_cd z_cd``.
    """
    maps = model.feature_maps(images)[0]
    x = maps.flatten(2).mT
    pooled = x.mT @ x / x.shape[1]
    weight = model.canonical()["classifier.weight"]
    chosen = (weight[classes] - weight.mean(0)) * model.descriptors(images)
    parts = chosen.view_as(pooled) / torch.where(pooled == 0, torch.inf, pooled)
    return ((x @ parts) * x).sum(2).view(-1, *maps.shape[2:]) / x.shape[1]


def draw(
    path: Path,
    crops: np.ndarray,
    labels: Sequence[int],
    predictions: Sequence[int],
    maps: Tensor,
    matrix: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> None:
    """Write the figure of some crops (N, H, W) and their `evidence`, and the confusion matrix.

    `labels` and `predictions` are those of the crops; `matrix` counts all test crops, true
    classes down, predicted classes across.
    """
    columns = (len(crops) + 1) // 2
    figure = Figure(figsize=(1.45 * columns + 5.2, 6.9), layout="constrained")
    figure.suptitle(title, fontsize=13)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.45 * columns, 5.2))
    left, right = (figure.add_subfigure(cell) for cell in grid)
    axes = left.subplots(4, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    heat = F.interpolate(maps[:, None], crops.shape[1:], mode="bicubic")[:, 0].numpy()
    for i, (image, true, predicted) in enumerate(zip(crops, labels, predictions, strict=True)):
        row, column = 2 * (i // columns), i % columns
        _show(axes[row, column], image)
        _show(axes[row + 1, column], image)
        most = np.abs(heat[i]).max()
        axes[row + 1, column].imshow(heat[i], cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.55)
        right_one = true == predicted
        text = classes[true] if right_one else f"{classes[true]}: {classes[predicted]}?"
        axes[row, column].set_title(text, fontsize=10, color=RIGHT if right_one else WRONG)
    left.supxlabel(
        "Red: true class: what was predicted instead. Below each crop, where the descriptor's"
        " entries for (red) and\nagainst (blue) the predicted class come from;"
        " over all locations they add up to its logit, less the mean logit.",
        fontsize=10,
    )
    _confusion(right.subplots(), matrix, classes)
    figure.savefig(path, dpi=110)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)


def _confusion(axis: Axes, matrix: np.ndarray, classes: Sequence[str]) -> None:
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
    axis.set_title("B-CNN, all test crops", fontsize=11)
    for side in axis.spines.values():
        side.set_visible(False)
