"""`hadamard_pool`: the battery, transforms, the order of pairs, and windows with a mask."""

import importlib

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import (
    MAP,
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("hadamard_pool")
TestParity = parity("hadamard_pool")


class TestDerivation(Derivation):
    op = "hadamard_pool"


class TestTransforms(Transforms):
    op = "hadamard_pool"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, MAP + 1, MAP - 1), ()),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("hadamard_pool", arrays, options)


KEEP = np.array([[True, False, True, True, False], [True] * 5])


def test_pairs_are_in_order() -> None:
    a, b, c = (np.full((1, 1, 2), value) for value in (2.0, 3.0, 5.0))
    assert reference.hadamard_pool(a, b, c).tolist() == [[6, 6, 10, 10, 15, 15]]
    assert reference.hadamard_pool(a, b, c, rank=2).tolist() == [[12, 20, 30]]


def test_every_gradient_is_the_complex_step_derivative_with_windows_and_a_mask() -> None:
    streams = [normal("float64", 2, 5, 4, seed=seed) for seed in range(3)]
    for options in ({"rank": 2, "mask": KEEP}, {"rank": 4, "reduction": "sum"}):
        shape = reference.hadamard_pool(*streams, **options).shape
        cotangent = normal("float64", *shape, seed=3)
        gradients = reference.hadamard_pool_vjp(cotangent, *streams, **options)
        formula = importlib.import_module("bilinear.reference.hadamard_pool")._hadamard_pool
        for i, gradient in enumerate(gradients):
            for index in np.ndindex(gradient.shape):
                stepped = [s.astype(complex) for s in streams]
                stepped[i][index] += 1e-30j
                derivative = formula(*stepped, **options).imag / 1e-30
                assert_rounded(gradient[index], np.sum(cotangent * derivative), 64, scale=8.0)
