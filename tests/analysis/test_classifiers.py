"""Conversion of classifiers between full and packed descriptors and orders of flattening."""

import math

import ml_dtypes
import numpy as np
import pytest

from bilinear import reference
from bilinear.analysis.classifiers import pack_classifier, permute_classifier, unpack_classifier

RNG = np.random.default_rng(5)
DTYPES = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    ml_dtypes.bfloat16: 2.0**-8,
}
over_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)


def pack_descriptor(full: np.ndarray, channels: int) -> np.ndarray:
    """Entries of the pairs c ≤ d, multiplied by √2 where c ≠ d."""
    return np.stack(
        [
            full[:, c * channels + d] * (1 if c == d else math.sqrt(2))
            for c in range(channels)
            for d in range(c, channels)
        ],
        axis=1,
    )


def test_logits_of_one_stream_descriptors_do_not_change():
    """With asymmetric weights. A sum of 49 products has at most 50 rounding errors."""
    x = RNG.standard_normal((3, 11, 7))
    descriptors = reference.bilinear_pool(x)
    packed = pack_descriptor(descriptors, 7)
    np.testing.assert_allclose(np.linalg.norm(packed, axis=1), 1, rtol=50 * 2.0**-53)
    weight = RNG.standard_normal((4, 49))
    converted = pack_classifier(weight)
    assert converted.shape == (4, 28)
    scale = np.abs(descriptors) @ np.abs(weight).T
    assert np.all(np.abs(packed @ converted.T - descriptors @ weight.T) <= 100 * 2.0**-53 * scale)
    back = unpack_classifier(converted)
    assert np.all(np.abs(descriptors @ (back - weight).T) <= 100 * 2.0**-53 * scale)


@over_dtypes
def test_packing_and_unpacking_gives_the_symmetric_part(dtype):
    """Each conversion rounds once, after three roundings in float64. The diagonal is exact."""
    weight = RNG.standard_normal((2, 25)).astype(dtype)
    packed = pack_classifier(weight)
    back = unpack_classifier(packed)
    assert packed.dtype == back.dtype == weight.dtype
    squares = weight.astype(np.float64).reshape(2, 5, 5)
    symmetric = (squares + squares.transpose(0, 2, 1)) / 2
    error = np.abs(back.astype(np.float64).reshape(2, 5, 5) - symmetric)
    assert np.all(error <= 6 * DTYPES[dtype] * np.abs(symmetric))
    assert not error[:, range(5), range(5)].any()
    np.testing.assert_array_equal(
        pack_classifier(back)[:, [0, 5, 9, 12, 14]], packed[:, [0, 5, 9, 12, 14]]
    )


@over_dtypes
def test_permutation_moves_each_pair(dtype):
    """Feature c·3 + d here is feature d·2 + c in column-major order, for 2 and 3 channels."""
    theirs = np.arange(12, dtype=np.float64).reshape(2, 6).astype(dtype)
    ours = permute_classifier(theirs, (2, 3), "column-major")
    assert ours.dtype == theirs.dtype
    for c in range(2):
        for d in range(3):
            np.testing.assert_array_equal(ours[:, c * 3 + d], theirs[:, d * 2 + c])
    np.testing.assert_array_equal(permute_classifier(ours, [3, 2], "column-major"), theirs)
    same = permute_classifier(theirs, (2, 3), "row-major")
    np.testing.assert_array_equal(same, theirs)
    assert not np.shares_memory(same, theirs)
    one = permute_classifier(theirs[:, :4], 2)
    np.testing.assert_array_equal(one, theirs[:, [0, 2, 1, 3]])


def test_arguments_are_not_modified():
    weight = RNG.standard_normal((2, 9))
    before = weight.copy()
    pack_classifier(weight)
    permute_classifier(weight, 3)
    np.testing.assert_array_equal(weight, before)


class Parameter:
    """Like a PyTorch parameter, which must be detached before NumPy accepts it."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return np.ones((1, 4), np.float32)


class OnAnAccelerator:
    def __array__(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def test_parameters_are_accepted():
    assert pack_classifier(Parameter()).dtype == np.float32
    with pytest.raises(TypeError, match=r"OnAnAccelerator, can't convert cuda.*to the CPU"):
        pack_classifier(OnAnAccelerator())


@pytest.mark.parametrize("convert", [pack_classifier, unpack_classifier])
@pytest.mark.parametrize(
    ("weight", "kind", "words"),
    [
        (np.ones((2, 5)), ValueError, r"weight must be \(K, .*; got weight \(2, 5\)\. "),
        (np.ones(4), ValueError, r"must be \(K, features\); got weight \(4,\)\. Keras and Flax"),
        (np.ones((2, 0)), ValueError, r"must be \(K, features\); got weight \(2, 0\)"),
        (np.ones((2, 4), int), TypeError, "must be of a real floating type"),
        ([[1, 2], [3]], TypeError, "must be convertible to a NumPy array; got builtins.list"),
    ],
)
def test_invalid_weights_are_refused(convert, weight, kind, words):
    with pytest.raises(kind, match=words) as caught:
        convert(weight)
    assert str(caught.value).startswith(f"{convert.__name__}: ")


@pytest.mark.parametrize(
    ("channels", "order", "words"),
    [
        (3, "column-major", r"weight must be \(K, 3 × 3\); got weight \(1, 6\)"),
        ((2, 3, 1), "column-major", r"positive integer or a pair of those; got \(2, 3, 1\)"),
        ((0, 3), "column-major", r"positive integer or a pair of those; got \(0, 3\)"),
        ((2, 3), "C", r"order must be 'row-major' or 'column-major'; got 'C'"),
    ],
)
def test_invalid_permutations_are_refused(channels, order, words):
    with pytest.raises(ValueError, match=f"permute_classifier: .*{words}"):
        permute_classifier(np.ones((1, 6)), channels, order)
    with pytest.raises(TypeError, match="channels must be a positive integer"):
        permute_classifier(np.ones((1, 6)), True, order)
