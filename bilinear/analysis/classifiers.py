"""Conversion of classifier weights between full and packed descriptors and orders of flattening.

    weight = pack_classifier(model.classifier.weight)      # for BilinearPool(packed=True)

Weights are (K, features) for K classes, as in PyTorch and in the portable file. Keras and Flax
store the transpose: pass ``kernel.T`` and transpose the result. Any array that `np.asarray`
accepts can be passed, including a PyTorch parameter on the CPU. Biases stay the same.

No conversion is needed between ``reduction="sum"`` and ``"mean"``, because descriptors are
L2-normalized. Only the eps of the root differs: `bilinear.presets.equivalent_eps` converts it.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..contract import check_argument, check_float, refuse
from ..contract.arguments import PAIR_OR_ONE, choice

Order = Literal["row-major", "column-major"]

ORDER = choice(
    "row-major", "column-major", remedy="Row-major is feature c·D + d, column-major is d·C + c."
)


def pack_classifier(weight: Any) -> np.ndarray:
    """Convert the classifier of a full descriptor to that of a packed descriptor.

    ``packed[k, (c, d)] = (w[k, c·C + d] + w[k, d·C + c]) / √2`` for c < d and ``w[k, c·C + c]``
    for c = d, with the pairs c ≤ d in row-major order. The logits of one-stream descriptors stay
    equal up to rounding. These descriptors are symmetric, so the antisymmetric part of the weights
    does not contribute to the logits and is dropped.

    Args:
        weight: (K, C²) array of a real floating dtype.

    Returns: (K, C·(C+1)/2) array in the dtype of `weight`, computed in float64.
    Cost: O(K·C²) time; three rows in float64 besides the result.
    Raises: TypeError for another dtype, ValueError for another shape.
    """
    op = "pack_classifier"
    full = _matrix(op, weight)
    channels = math.isqrt(full.shape[1])
    if channels**2 != full.shape[1]:
        invariant = "weight must be (K, C²), one weight for each pair of channels"
        _refuse_shape(op, invariant, full, "Only one-stream descriptors can be packed.")
    rows, columns = np.triu_indices(channels)
    result = np.empty((len(full), len(rows)), full.dtype)
    for packed, row in zip(result, full, strict=True):
        square = row.reshape(channels, channels).astype(np.float64)
        folded = (square + square.T) / math.sqrt(2)
        np.fill_diagonal(folded, square.diagonal())
        packed[...] = folded[rows, columns]
    return result


def unpack_classifier(weight: Any) -> np.ndarray:
    """Convert the classifier of a packed descriptor to that of a full descriptor.

    ``w[k, c·C + d] = w[k, d·C + c] = packed[k, (c, d)] / √2`` for c < d and ``packed[k, (c, c)]``
    on the diagonal. Of all weights that `pack_classifier` converts to `weight`, these are the
    symmetric ones.

    Args:
        weight: (K, C·(C+1)/2) array of a real floating dtype.

    Returns: (K, C²) array in the dtype of `weight`, computed in float64.
    Cost: O(K·C²) time; two rows in float64 besides the result.
    Raises: TypeError for another dtype, ValueError for another shape.
    """
    op = "unpack_classifier"
    packed = _matrix(op, weight)
    channels = (math.isqrt(8 * packed.shape[1] + 1) - 1) // 2
    if channels * (channels + 1) // 2 != packed.shape[1]:
        invariant = "weight must be (K, C·(C+1)/2), one weight for each pair c ≤ d of channels"
        _refuse_shape(
            op, invariant, packed, "Use pack_classifier for the classifier of a full descriptor."
        )
    rows, columns = np.triu_indices(channels)
    scale = np.where(rows == columns, 1.0, math.sqrt(2))
    result = np.empty((len(packed), channels, channels), packed.dtype)
    for square, row in zip(result, packed, strict=True):
        square[rows, columns] = square[columns, rows] = row.astype(np.float64) / scale
    return result.reshape(len(packed), channels**2)


def permute_classifier(
    weight: Any, channels: int | Sequence[int], order: Order = "column-major"
) -> np.ndarray:
    """Convert a classifier of descriptors flattened in another order to this library's order.

    In this library, feature ``c·D + d`` is the product of channel c of the first stream and channel
    d of the second (row-major). In column-major order it is feature ``d·C + c``. To convert back,
    call the function with the channels exchanged.

    Args:
        weight: (K, C·D) array of a real floating dtype.
        channels: (C, D), or one integer if both are equal.
        order: order of the features of `weight`: ``"column-major"`` (default) or ``"row-major"``.

    Returns: (K, C·D) array in the dtype of `weight`; values are not rounded.
    Cost: O(K·C·D) time.
    Raises: TypeError for another dtype or channels that are not integers; ValueError for other
        invalid channels or order, or if C·D is not the width of `weight`.
    """
    op = "permute_classifier"
    given = _matrix(op, weight)
    check_argument(op, "channels", channels, PAIR_OR_ONE)
    check_argument(op, "order", order, ORDER)
    first, second = channels if isinstance(channels, Sequence) else (channels, channels)
    if given.shape[1] != first * second:
        invariant = f"weight must be (K, {first} × {second})"
        _refuse_shape(
            op, invariant, given, "Pass the channels of the streams that it was trained on."
        )
    if order == "row-major":
        return given.copy()
    square = given.reshape(len(given), second, first)
    return np.ascontiguousarray(square.transpose(0, 2, 1)).reshape(given.shape)


def _matrix(op: str, weight: Any) -> np.ndarray:
    """Convert `weight` to a NumPy matrix of a real floating dtype."""
    try:
        array = np.asarray(weight.detach() if hasattr(weight, "detach") else weight)
    except Exception as error:  # the type depends on the framework
        received = f"{type(weight).__module__}.{type(weight).__qualname__}, {error}"
        remedy = "Move it to the CPU, or cast it to float32."
        refuse(TypeError, op, "weight must be convertible to a NumPy array", received, remedy)
    check_float(op, "weight", array.dtype.name)
    if array.ndim != 2 or array.shape[1] == 0:
        remedy = "Keras and Flax store the transpose: pass kernel.T."
        _refuse_shape(op, "weight must be (K, features)", array, remedy)
    return array


def _refuse_shape(op: str, invariant: str, array: np.ndarray, remedy: str) -> None:
    refuse(ValueError, op, invariant, f"weight {array.shape}", remedy)
