"""Length of the descriptor, parameters and memory of each pooling layer, before anything runs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..contract import check_argument
from ..contract.arguments import COUNT
from ..contract.layers import LAYERS

POOLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "AveragePool()": ("AveragePool", {}),
    "BilinearPool()": ("BilinearPool", {}),
    "BilinearPool(packed=True)": ("BilinearPool", {"packed": True}),
    "CovariancePool()": ("CovariancePool", {}),
    "CompactBilinearPool({c})": ("CompactBilinearPool", {}),
    "LowRankBilinearPool({c})": ("LowRankBilinearPool", {}),
    "LowRankBilinearClassifier({c}, {k})": ("LowRankBilinearClassifier", {}),
}
"""The call of each compared layer, for c channels and k classes -> class, and other arguments."""


class Cost(NamedTuple):
    """What one pooling layer and its linear classifier need."""

    pool: str
    """The call that makes the layer."""
    descriptor: int
    """Length of the descriptor; 0 for a layer that computes the scores without one."""
    parameters: int
    """Learned values of projection, layer and classifier."""
    weights: int
    """Bytes of the parameters."""
    training: int
    """Bytes of parameters, gradients, momentum, descriptors and their gradients."""


def compare_costs(
    channels: int,
    num_classes: int,
    *,
    batch_size: int = 32,
    projection: int | None = None,
    item_size: int = 4,
) -> list[Cost]:
    """Compute the length, the parameters and the memory of each pooling layer for one stream.

    A descriptor of D values with K classes needs a classifier of ``K·D + K`` parameters. Training
    with SGD and momentum stores three values for each parameter, and two for each entry of the
    descriptors of a batch. Not included are the backbone and what the layer stores for its
    gradient.

    Args:
        channels: number of channels C of the feature map.
        num_classes: number of classes K.
        batch_size: number of images in a batch. Default 32.
        projection: number of channels after a `Projection`; None is no projection. Default None.
        item_size: bytes of a value. Default 4, float32.

    Returns:
        One `Cost` for each entry of `POOLS`.

    Raises:
        ValueError for a size below 1.

    Example:
        >>> compare_costs(512, 200)[1].descriptor
        262144
    """
    after = channels if projection is None else projection
    sizes = {"channels": channels, "num_classes": num_classes, "batch_size": batch_size}
    for name, value in {**sizes, "projection": after, "item_size": item_size}.items():
        check_argument("compare_costs", name, value, COUNT)
    projected = 0 if projection is None else channels * projection
    costs = []
    for call, (layer, arguments) in POOLS.items():
        defaults = {name: kind.default for name, kind in LAYERS[layer].arguments.items()}
        given = {**defaults, **arguments, "channels": after, "num_classes": num_classes}
        is_classifier = "num_classes" in LAYERS[layer].arguments
        length = 0 if is_classifier else LAYERS[layer].size(given, [after])
        tensors = LAYERS[layer].tensors(given, [after]).values()
        learned = sum(math.prod(spec.shape) for spec in tensors if spec.dtype is None)
        head = 0 if is_classifier else num_classes * (length + 1)
        parameters = projected + learned + head
        training = 3 * parameters + 2 * batch_size * length
        name = call.format(c=after, k=num_classes)
        costs.append(Cost(name, length, parameters, item_size * parameters, item_size * training))
    return costs
