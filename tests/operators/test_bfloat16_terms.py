"""The three bfloat16 values into which derivatives split a float32 value on accelerators."""

import importlib

import numpy as np
import pytest

from ..subjects import PRESENT, driver

MODULES = {"torch": "_tensors", "jax": "_products"}


@pytest.mark.parametrize("backend", [name for name in MODULES if name in PRESENT])
def test_three_bfloat16_values_are_one_float32_value(backend: str) -> None:
    """Over the range that the split covers, with all 24 bits."""
    module = importlib.import_module(f"bilinear.backends.{backend}.{MODULES[backend]}")

    def split(values: np.ndarray) -> list[np.ndarray]:
        terms = module.bfloat16_terms(driver(backend).to_native(values))
        assert {str(term.dtype).removeprefix("torch.") for term in terms} == {"bfloat16"}
        return [driver(backend).to_array(term).astype(np.float64) for term in terms]

    random = np.random.default_rng(0)
    exponents = random.integers(-103, 128, 1000).astype(np.float64)
    values = random.choice([-1, 1], 1000) * random.uniform(1, 2, 1000) * 2**exponents
    values = np.append(values, [0.0, float(np.finfo(np.float32).max)]).astype(np.float32)
    np.testing.assert_array_equal(sum(split(values)), values)
    special = np.array([np.inf, -np.inf, np.nan], np.float32)
    rest = np.array([0, 0, np.nan])
    for terms, expected in zip(split(special), (special, rest, rest), strict=True):
        np.testing.assert_array_equal(terms, expected)
