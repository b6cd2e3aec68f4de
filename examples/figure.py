"""The figure of the demo: crops with predictions and heat maps, and the confusion matrix."""

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
from examples import confusion_matrix

matplotlib.use("Agg")  # writes files without a display

RIGHT, WRONG = "#1a7f37", "#cf222e"


@torch.inference_mode()
def class_heat(model: BCNN, images: Tensor, classes: Tensor) -> Tensor:
    """The contribution of each location to a class: (N, h, w) at the size of the feature maps.

    Without biases, the logit of class k minus the mean of all logits is ``Σ_cd V_cd z_cd`` with the
    descriptor z and ``V = W_k − mean_j W_j``. Each entry z_cd is computed from the mean over
    locations ``G_cd = mean_l x_lc x_ld``. Its contribution ``V_cd z_cd`` is divided among the
    locations in proportion to their terms ``x_lc x_ld / L``::

        heat_l = x_lᵀ A x_l / L        with A_cd = V_cd z_cd / G_cd, 0 where G_cd = 0

    The sum of the heat over all locations is exactly ``Σ_cd V_cd z_cd``.
    """
    features = model.feature_maps(images)[0]
    x = features.flatten(2).mT
    pooled = x.mT @ x / x.shape[1]
    weight = model.canonical()["classifier.weight"]
    contributions = (weight[classes] - weight.mean(0)) * model.descriptors(images)
    scaled = contributions.view_as(pooled) / torch.where(pooled == 0, torch.inf, pooled)
    return ((x @ scaled) * x).sum(2).view(-1, *features.shape[2:]) / x.shape[1]


def draw(
    path: Path,
    crops: np.ndarray,
    labels: Sequence[int],
    predictions: Sequence[int],
    heat: Tensor,
    matrix: np.ndarray,
    classes: Sequence[str],
    title: str,
) -> None:
    """Write the figure of some crops (N, H, W), their `class_heat`, and the confusion matrix.

    `labels` and `predictions` belong to the crops. `matrix` counts all test crops: rows are true
    classes, columns are predicted classes.
    """
    columns = (len(crops) + 1) // 2
    figure = Figure(figsize=(1.45 * columns + 5.2, 6.9), layout="constrained")
    figure.suptitle(title, fontsize=13)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.45 * columns, 5.2))
    left, right = (figure.add_subfigure(cell) for cell in grid)
    axes = left.subplots(4, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    large = F.interpolate(heat[:, None], crops.shape[1:], mode="bicubic")[:, 0].numpy()
    for i, (image, true, predicted) in enumerate(zip(crops, labels, predictions, strict=True)):
        row, column = 2 * (i // columns), i % columns
        _show(axes[row, column], image)
        _show(axes[row + 1, column], image)
        most = np.abs(large[i]).max()
        axes[row + 1, column].imshow(large[i], cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.55)
        correct = true == predicted
        text = classes[true] if correct else f"{classes[true]}: {classes[predicted]}?"
        axes[row, column].set_title(text, fontsize=10, color=RIGHT if correct else WRONG)
    left.supxlabel(
        "Red title: true class: wrong prediction. Below each crop: the contribution of each"
        " location to the logit of the predicted class\nminus the mean logit;"
        " red is for the class, blue is against it.",
        fontsize=10,
    )
    axis = right.subplots()
    confusion_matrix.draw(axis, matrix, classes)
    axis.set_title("B-CNN, all test crops", fontsize=11)
    figure.savefig(path, dpi=110)


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
