"""Trained classifiers carried from one descriptor to another: NumPy only, any framework's weights.

    linear.weight = half_classifier(model.classifier.weight)      # for BilinearPool(packed=True)

Weights are (K, features), K classes, as PyTorch and the portable file have them; Keras and Flax
keep the transpose, so pass ``kernel.T`` and transpose the result. Whatever `np.asarray` takes is
accepted, a PyTorch parameter on the CPU too. Biases do not change, nor does anything else: under
L2 a classifier trained on "sum" is one trained on "mean" but for the eps of the root, which
`bilinear.presets.equivalent_eps` converts.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..contract import check_float, refuse

Order = Literal["row-major", "column-major"]

ORDERS = ("row-major", "column-major")


def pack_classifier(weight: Any) -> np.ndarray:
    """A classifier of full descriptors as one of half descriptors: equal logits.

    ``half[k, (c, d)] = (w[k, c·C + d] + w[k, d·C + c]) / √2`` for c < d, ``w[k, c·C + c]`` for
    c = d, with the pairs c ≤ d in row-major order: a half descriptor has √2 times the entry of
    the full one off the diagonal, and the entry itself on it. On symmetric descriptors (one
    stream) logits are unchanged up to rounding. The antisymmetric part of the weights is dropped:
    no logit of such a descriptor sees it.

    Shapes: (K, C²) -> (K, C·(C+1)/2), in the dtype of `weight`, computed in float64.
    Cost: O(K·C²) time, three rows in float64 beside the result.
    Raises: TypeError unless it is an array of a real floating type, ValueError unless it is
        (K, C²).
    """
    op = "pack_classifier"
    full = _matrix(op, weight)
    channels = math.isqrt(full.shape[1])
    if channels**2 != full.shape[1]:
        invariant = "weight must be (K, C²), one weight for each pair of channels"
        _refuse_shape(op, invariant, full, "Two streams have no half descriptor.")
    rows, columns = np.triu_indices(channels)
    result = np.empty((len(full), len(rows)), full.dtype)
    for packed, row in zip(result, full, strict=True):
        square = row.reshape(channels, channels).astype(np.float64)
        folded = (square + square.T) / math.sqrt(2)
        np.fill_diagonal(folded, square.diagonal())
        packed[...] = folded[rows, columns]
    return result


def unpack_classifier(weight: Any) -> np.ndarray:
    """A classifier of half descriptors as one of full descriptors: equal logits.

    ``w[k, c·C + d] = w[k, d·C + c] = half[k, (c, d)] / √2`` for c < d, ``half[k, (c, c)]`` on the
    diagonal: the symmetric one of all the weights that `pack_classifier` takes to `weight`.

    Shapes: (K, C·(C+1)/2) -> (K, C²), in the dtype of `weight`, computed in float64.
    Cost: O(K·C²) time, two rows in float64 beside the result.
    Raises: TypeError unless it is an array of a real floating type, ValueError unless it is
        (K, C·(C+1)/2).
    """
    op = "unpack_classifier"
    packed = _matrix(op, weight)
    channels = (math.isqrt(8 * packed.shape[1] + 1) - 1) // 2
    if channels * (channels + 1) // 2 != packed.shape[1]:
        invariant = "weight must be (K, C·(C+1)/2), one weight for each pair c ≤ d of channels"
        _refuse_shape(op, invariant, packed, "A full classifier is taken by half_classifier.")
    rows, columns = np.triu_indices(channels)
    scale = np.where(rows == columns, 1.0, math.sqrt(2))
    result = np.empty((len(packed), channels, channels), packed.dtype)
    for square, row in zip(result, packed, strict=True):
        square[rows, columns] = square[columns, rows] = row.astype(np.float64) / scale
    return result.reshape(len(packed), channels**2)


def permute_classifier(
    weight: Any, channels: int | Sequence[int], order: Order = "column-major"
) -> np.ndarray:
    """A classifier trained on descriptors flattened in another order, for ours.

    Feature ``c·D + d`` here is the product of channel c of the first stream and d of the second
    (row-major); it is ``d·C + c`` where `order`, that of `weight`, is "column-major". For one
    stream both are the same descriptor, yet the weights of either pair may differ. The way back
    is the same function with the channels exchanged.

    Args:
        channels: C and D, or one number for both.
        order: of the features that `weight` was trained on.

    Shapes: (K, C·D) -> (K, C·D), in the dtype of `weight`; nothing is rounded.
    Cost: O(K·C·D) time.
    Raises: TypeError unless `weight` is an array of a real floating type; ValueError for
        channels that are not one or two positive numbers, whose product is not the width of
        `weight`, and for an order that is neither.
    """
    op = "permute_classifier"
    given = _matrix(op, weight)
    pair = tuple(channels) if isinstance(channels, Sequence) else (channels, channels)
    if len(pair) != 2 or not all(map(_is_count, pair)):
        invariant = "channels must be a positive integer or a pair"
        refuse(ValueError, op, invariant, repr(channels), "Pass those of the two streams.")
    if order not in ORDERS:
        remedy = "'row-major' is feature c·D + d, 'column-major' d·C + c."
        invariant = f"order must be {' or '.join(map(repr, ORDERS))}"
        refuse(ValueError, op, invariant, repr(order), remedy)
    first, second = pair
    if given.shape[1] != first * second:
        invariant = f"weight must be (K, {first} × {second})"
        _refuse_shape(op, invariant, given, "Pass the channels it was trained with.")
    if order == "row-major":
        return given.copy()
    square = given.reshape(len(given), second, first)
    return np.ascontiguousarray(square.transpose(0, 2, 1)).reshape(given.shape)


def _is_count(value: object) -> bool:
    return isinstance(value, numbers.Integral) and value is not True and int(value) > 0


def _matrix(op: str, weight: Any) -> np.ndarray:
    """`weight` as a NumPy matrix of a real floating type."""
    try:
        array = np.asarray(weight.detach() if hasattr(weight, "detach") else weight)
    except Exception as error:  # each framework has its own for what NumPy cannot hold
        received = f"{type(weight).__module__}.{type(weight).__qualname__}, {error}"
        remedy = "Bring it to the CPU, or cast it to float32."
        refuse(TypeError, op, "weight must be an array that NumPy can hold", received, remedy)
    check_float(op, "weight", array.dtype.name)
    if array.ndim != 2 or array.shape[1] == 0:
        remedy = "Keras and Flax keep the transpose: pass kernel.T."
        _refuse_shape(op, "weight must be (K, features)", array, remedy)
    return array


def _refuse_shape(op: str, invariant: str, array: np.ndarray, remedy: str) -> None:
    refuse(ValueError, op, invariant, f"weight {array.shape}", remedy)
