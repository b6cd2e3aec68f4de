"""The specification itself: its gradients against independent derivatives, its hard points."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilinear import reference
from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.testing import (
    OPERATORS,
    OPS,
    REFERENCE,
    Bounded,
    Case,
    assert_within,
    battery,
)
from bilinear.testing.cases import seeded
from bilinear.testing.closeness import assert_rounded

from ..tolerances import COMPLEX_STEP

TestReference = battery(REFERENCE)

MAP = seeded("float64", 2, 4, 3)
OTHER = seeded("float64", 2, 4, 2, seed=1)
SQUARE = seeded("float64", 2, 3, 3)
WEIGHT, BIAS = seeded("float64", 2, 9, seed=2), seeded("float64", 2, seed=3)
KEEP = np.array([[True, False, True, True], [False] * 4])

DEFINITE = np.einsum("nlc,nld->ncd", MAP, MAP)
RANK_TWO = np.einsum("nlc,nld->ncd", MAP[:, :2], MAP[:, :2])

ANALYTIC = [
    ("covariance_pool", (MAP, None), (None,)),
    ("covariance_pool", (MAP, OTHER), (KEEP,)),
    ("matrix_sqrt", (DEFINITE,), ("newton_schulz", 5, "trace", None)),
    ("matrix_sqrt", (RANK_TWO + MAP[:, :3],), ("newton_schulz", 2, "frobenius", None)),
    ("matrix_sqrt", (DEFINITE,), ("eigen", 5, "trace", None)),
    ("matrix_sqrt", (RANK_TWO,), ("eigen", 5, "trace", None)),
    ("outer_pool", (MAP, None), (None, "mean")),
    ("outer_pool", (MAP, OTHER), (KEEP, "mean")),
    ("outer_pool", (MAP, OTHER), (None, "sum")),
    ("outer_max_pool", (MAP, None), (None,)),
    ("outer_max_pool", (MAP, OTHER), (KEEP,)),
    ("democratic_weights", (MAP,), (0.5, 0.5, 10, 1e-10, None, False)),
    ("democratic_weights", (MAP,), (0.25, 0.75, 2, 1e-3, KEEP, False)),
    ("signed_sqrt", (MAP,), (1e-10,)),
    ("signed_sqrt", (MAP,), (0.0,)),
    ("signed_sqrt", (MAP,), (1e-5, "shifted")),
    ("signed_sqrt", (np.abs(MAP),), (1e-5, "unsigned")),
    ("half_vectorize", (SQUARE,), (True,)),
    ("half_vectorize", (SQUARE,), (False,)),
    ("l2_normalize", (MAP,), (1e-12,)),
    ("l2_normalize", (MAP,), (1e3,)),
    ("l2_normalize", (MAP,), (0.5, "added")),
    ("tensor_sketch", (MAP, None), (sketch_tables(3, None, 5), None, "mean")),
    ("tensor_sketch", (MAP, OTHER), (sketch_tables(3, 2, 4), KEEP, "none")),
    ("random_maclaurin", (MAP, None), (maclaurin_tables(3, None, 5), None, "none")),
    ("random_maclaurin", (MAP, OTHER), (maclaurin_tables(3, 2, 4), KEEP, "mean")),
    ("bilinear_pool", (MAP, None), (None, "mean", 1e-10, 1e-12)),
    ("bilinear_pool", (MAP, OTHER), (KEEP, "sum", 0.0, 1e-12)),
    ("bilinear_pool", (MAP, OTHER), (None, "mean", 1e-10, 1e3)),
    ("bilinear_pool", (MAP, None), (None, "mean", 1e-10, 1e-12, True)),
    ("bilinear_pool", (MAP, None), (KEEP, "sum", 1e-5, 0.5, True, "shifted", None, "added")),
    ("bilinear_scores", (MAP, WEIGHT, None, None), (None, "mean", 1e-10, 1e-12, False)),
    ("bilinear_scores", (MAP, WEIGHT[:, :6], BIAS, OTHER), (KEEP, "sum", 0.0, 1e-12, False)),
    ("bilinear_scores", (MAP, WEIGHT[:, :6], BIAS, None), (KEEP, "mean", 1e-5, 1e3, True)),
    ("hadamard_pool", (MAP, MAP + 1, MAP - 1), ()),
    ("low_rank_pool", (MAP, MAP[0, :3], MAP[1, :3], None), ("sigmoid", 1, None, "mean")),
    ("low_rank_pool", (MAP, MAP[0, :3], MAP[1, :2], OTHER), ("tanh", 3, KEEP, "mean")),
    ("low_rank_pool", (MAP, MAP[0, :3], MAP[1, :2], OTHER), ("relu", 1, KEEP, "sum")),
    ("low_rank_scores", (MAP, MAP.mT[..., :2], MAP.mT[..., 2:3], MAP[0, 0, :2]), (KEEP, "mean")),
]


def inner(op: str, suffix: str = ""):
    """The formula without checks or casts."""
    return getattr(importlib.import_module(f"bilinear.reference.{op}"), f"_{op}{suffix}")


def as_tuple(result) -> tuple[np.ndarray, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(("op", "arrays", "options"), ANALYTIC)
def test_vjp_is_the_complex_step_derivative(op, arrays, options) -> None:
    """``Im f(x + ih) / h`` has no cancellation: it is the derivative to the last digits."""
    step = 1e-30
    cotangent = np.random.default_rng(3).standard_normal(inner(op)(*arrays, *options).shape)
    gradients = as_tuple(inner(op, "_vjp")(cotangent, *arrays, *options))
    for position, gradient in enumerate(gradients):
        expected = np.empty_like(gradient)
        for index in np.ndindex(gradient.shape):
            stepped = list(arrays)
            stepped[position] = arrays[position].astype(complex)
            stepped[position][index] += 1j * step
            derivative = inner(op)(*stepped, *options).imag / step
            expected[index] = np.sum(cotangent * derivative)
        assert np.abs(gradient - expected).max() <= COMPLEX_STEP * np.abs(expected).max()


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_reference_is_within_the_bounds_of_a_second_derivation(op, data) -> None:
    """`testing/bounds.py` writes every formula again, in extended precision."""
    case = data.draw(OPS[op].cases("float64"))
    cotangent = data.draw(OPS[op].cotangents("float64", OPS[op].output_shape(case)))
    result = np.asarray(getattr(reference, op)(*case.arrays, **case.options))
    assert_within(result, OPS[op].forward(case, "float64"), "float64", op)
    gradients = getattr(reference, f"{op}_vjp")(cotangent, *case.arrays, **case.options)
    for gradient, bounded in zip(gradients, OPS[op].vjp(case, cotangent, "float64"), strict=True):
        assert_within(np.asarray(gradient), bounded, "float64", f"{op}, gradient")


def test_gradient_of_one_stream_needs_both_halves_of_the_cotangent() -> None:
    gamma = np.array([[[0.0, 1.0], [0.0, 0.0]]])
    x = np.array([[[2.0, 3.0]]])
    (gradient,) = reference.outer_pool_vjp(gamma, x)
    np.testing.assert_array_equal(gradient, [[[3.0, 2.0]]])  # 2ΓX would be [6, 0]


def test_flattening_is_row_major() -> None:
    x, y = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    pooled = reference.outer_pool(x, y)
    assert pooled.tolist() == [[[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]]
    descriptor = reference.bilinear_pool(x, y, eps=0.0)
    assert_rounded(descriptor[0] / descriptor[0, 0], np.sqrt(pooled.ravel()), 20)


def test_signed_sqrt_at_and_beside_zero() -> None:
    g = np.array([0.0, -0.0, 1e-300, -1e-300, 4.0, -4.0])
    beside, far = 1e-5, np.sqrt(4 + 1e-10)  # in float64, 1e-300 + 1e-10 is 1e-10
    roots = reference.signed_sqrt(g, eps=1e-10)
    assert_rounded(roots, [0, 0, beside, -beside, far, -far], 2)
    assert roots[:2].tolist() == [0, 0]
    assert roots[2] == -roots[3] != 0
    (slope,) = reference.signed_sqrt_vjp(np.ones(6), g, eps=1e-10)
    assert slope[:2].tolist() == [0, 0]
    assert_rounded(slope[2:4], 5e4, 4)
    assert_rounded(slope[4:], 0.5 / far, 4)
    (slope,) = reference.signed_sqrt_vjp(np.ones(2), np.array([0.0, 4.0]), eps=0.0)
    assert slope.tolist() == [0.0, 0.25]


def test_half_of_a_symmetric_matrix_has_its_inner_product() -> None:
    g, other = SQUARE + SQUARE.mT, SQUARE @ SQUARE.mT
    packed = reference.half_vectorize(g)
    assert_rounded(packed[0], g[0][np.triu_indices(3)] * [1, 2**0.5, 2**0.5, 1, 2**0.5, 1], 2)
    inner = np.sum(packed * reference.half_vectorize(other), 1)
    assert_rounded(inner, np.sum(g * other, (1, 2)), 30)
    plain = reference.half_vectorize(np.arange(9.0).reshape(1, 3, 3), isometric=False)
    assert plain.tolist() == [[0, 1, 2, 4, 5, 8]]


def test_l2_floor_is_on_the_norm() -> None:
    z = np.array([[2e-7, 0.0], [0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(reference.l2_normalize(z), [[1, 0], [0, 0], [0.6, 0.8]])
    (slope,) = reference.l2_normalize_vjp(np.ones((1, 2)), np.zeros((1, 2)))
    np.testing.assert_array_equal(slope, [[1e12, 1e12]])


def test_mask_equals_dropping_the_locations() -> None:
    kept = MAP[:1, KEEP[0]]
    terms = kept.shape[1] + kept.shape[2] ** 2 + 8  # a sum of products, the root and the norm
    assert_rounded(
        reference.bilinear_pool(MAP, mask=KEEP)[:1], reference.bilinear_pool(kept), terms
    )
    assert not reference.bilinear_pool(MAP, mask=KEEP)[1].any()


def test_draws_reach_the_hard_points() -> None:
    """A suite that never visits zero proves nothing there."""
    seen = set()

    @settings(max_examples=100)
    @given(case=OPS["bilinear_pool"].cases("float32"))
    def look(case: Case) -> None:
        x = case.arrays[0]
        seen.update(
            name
            for name, met in {
                "empty": x.shape[0] == 0,
                "two streams": len(case.arrays) == 2,
                "C ≠ D": len(case.arrays) == 2 and x.shape[2] != case.arrays[1].shape[2],
                "dead": x.size and not x[..., 0].any(),
                "transposed": x.size > 1 and not x.flags.c_contiguous,
                "mask": "mask" in case.options,
                "eps 0": case.options["eps"] == 0,
                "one location": x.shape[1] == 1,
                "mixed signs": x.size and x.min() < 0 < x.max(),
            }.items()
            if met
        )

    look()
    expected = {"empty", "two streams", "C ≠ D", "dead", "transposed", "mask", "eps 0"}
    assert seen >= expected | {"one location", "mixed signs"}


def test_bounds_are_finite_and_small_where_the_operator_is_smooth() -> None:
    """An infinite bound would accept anything; it is for the discontinuities alone."""
    case = OPS["bilinear_pool"].edges("float32")["non-square"]
    bounded: Bounded = OPS["bilinear_pool"].forward(case, "float32")
    assert float(bounded.error.max()) < 1e-5
    cotangent = np.ones(bounded.value.shape)
    for gradient in OPS["bilinear_pool"].vjp(case, cotangent, "float32"):
        assert float(gradient.error.max()) < 1e-3 * float(np.abs(gradient.value).max())
