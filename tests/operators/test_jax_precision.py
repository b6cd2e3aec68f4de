"""The programs of the JAX operators: the precision of matrix products, other platforms."""

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


def value_and_gradient(op: str, dtype: str = "float32"):
    """An operator and its gradient, compiled, and arrays: those of its first smooth case."""
    jax, case = importlib.import_module("jax"), OPS[op].smooth(dtype)[0]
    operator = getattr(importlib.import_module("bilinear.jax"), op)
    function = functools.partial(operator, **case.options)

    def both(*arrays):
        result, pullback = jax.vjp(function, *arrays)
        return result, pullback(result)

    return jax.jit(both), [jax.numpy.asarray(array) for array in case.arrays]


def products(text: str) -> list[str]:
    """The matrix products of a lowered program."""
    return [line for line in text.splitlines() if "dot_general" in line]


def precisions(op: str) -> set[str]:
    """The precisions of all matrix products, forward and backward."""
    function, arrays = value_and_gradient(op)
    found = products(function.lower(*arrays).as_text())
    return {p for line in found for p in re.findall(r"precision = \[(\w+, \w+)\]", line)}


@pytest.mark.parametrize("op", [op for op in OPS if op not in WITHOUT_PRODUCTS])
def test_a_precision_set_by_the_user_is_honoured(op: str) -> None:
    jax = importlib.import_module("jax")
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update("jax_default_matmul_precision", None)
        assert precisions(op) == {"HIGHEST, HIGHEST"}
        with jax.default_matmul_precision("tensorfloat32"):
            assert precisions(op) == {"HIGH, HIGH"}
        jax.config.update("jax_default_matmul_precision", "bfloat16")
        assert precisions(op) == {"DEFAULT, DEFAULT"}
    finally:
        jax.config.update("jax_default_matmul_precision", before)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("op", OPS)
def test_value_and_gradient_lower_for_other_platforms(op: str, dtype: str, platform: str) -> None:
    function, arrays = value_and_gradient(op, dtype)
    export = importlib.import_module("jax.export").export
    program = export(function, platforms=[platform])(*arrays)
    assert program.platforms == (platform,)
    assert {out.dtype.name for out in program.out_avals} == {dtype}
    assert bool(products(program.mlir_module())) == (op not in WITHOUT_PRODUCTS)
