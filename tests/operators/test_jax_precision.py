"""Matrix products of the JAX operators: full precision, or the precision that the user sets."""

import functools
import importlib
import re

import pytest

from bilinear.testing import OPS

from ..subjects import PRESENT

pytestmark = pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed")
WITHOUT_PRODUCTS = (
    "signed_sqrt",
    "l2_normalize",
    "half_vectorize",
    "hadamard_pool",
    "outer_max_pool",
)


def function_and_arrays(op: str):
    """An operator with the options of its first smooth case, and the arrays of that case."""
    case = OPS[op].smooth("float32")[0]
    function = getattr(importlib.import_module("bilinear.jax"), op)
    return functools.partial(function, **case.options), case.arrays


def precisions(function, arrays) -> set[str]:
    """The precisions of all matrix products in the lowered text, forward and backward."""
    jax = importlib.import_module("jax")

    def value_and_gradient(*arrays):
        result, pullback = jax.vjp(function, *arrays)
        return result, pullback(result)

    text = jax.jit(value_and_gradient).lower(*map(jax.numpy.asarray, arrays)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    return {p for line in products for p in re.findall(r"precision = \[(\w+, \w+)\]", line)}


@pytest.mark.parametrize("op", [op for op in OPS if op not in WITHOUT_PRODUCTS])
def test_a_precision_set_by_the_user_is_honoured(op: str) -> None:
    jax = importlib.import_module("jax")
    function, arrays = function_and_arrays(op)
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", None)
        assert precisions(function, arrays) == {"HIGHEST, HIGHEST"}
        with jax.default_matmul_precision("tensorfloat32"):
            assert precisions(function, arrays) == {"HIGH, HIGH"}
        jax.config.update("jax_default_matmul_precision", "bfloat16")
        assert precisions(function, arrays) == {"DEFAULT, DEFAULT"}
    finally:
        jax.config.update("jax_default_matmul_precision", before)
