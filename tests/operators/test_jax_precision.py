"""The programs of JAX: the precision of matrix products and convolutions, other platforms."""

import functools
import importlib
import re

import numpy as np
import pytest

from bilinear.testing import DTYPES, OPS, assert_within
from bilinear.testing.bounds import Bounded, gamma
from bilinear.testing.tolerances import SLACK

from ..subjects import PRESENT

pytestmark = pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed")
WITHOUT_PRODUCTS = (
    "signed_sqrt",
    "l2_normalize",
    "half_vectorize",
    "hadamard_pool",
    "outer_max_pool",
)
ONLY_OF_COMPUTED = ("covariance_pool", "covariance_sqrt", "matrix_sqrt")
"""Operators with matrix products, but, in their first case, none with an input."""
ALSO_OF_COMPUTED = ("bilinear_scores", "democratic_weights")
"""Operators that also multiply two matrices that are computed in float32."""


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
    return [line for line in text.splitlines() if "stablehlo.dot_general" in line]


def element_types(product: str) -> tuple[str, ...]:
    """Those of both factors and of the result."""
    return tuple(t.rpartition("x")[2] for t in re.findall(r"tensor<([^>]*)>", product))


def expected(op: str, dtype: str) -> set[tuple[str, ...]]:
    """The element types of all products, forward and backward."""
    if op in WITHOUT_PRODUCTS:
        return set()
    short = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}[dtype]
    of_inputs, of_computed = (short, short, "f32"), ("f32", "f32", "f32")
    if op in ONLY_OF_COMPUTED:
        return {of_computed}
    split = dtype == "bfloat16" and op not in ALSO_OF_COMPUTED
    return {of_inputs} if split else {of_inputs, of_computed}


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


def test_networks_follow_the_precision_setting() -> None:
    jax, plans = importlib.import_module("jax"), importlib.import_module("bilinear.models.plans")
    backbone = importlib.import_module("bilinear.models.jax.backbone")
    layers = backbone.Conv(plans.Conv("c", 3, 4, 3), "float32"), backbone.Linear(4, 2, "float32")
    for setting, name in ((None, "DEFAULT"), ("tensorfloat32", "HIGH"), ("highest", "HIGHEST")):
        with jax.default_matmul_precision(setting):
            program = jax.jit(lambda x: layers[1](layers[0](x)))
            text = program.lower(np.ones((1, 5, 5, 3), np.float32)).as_text()
        assert "stablehlo.convolution" in text
        assert products(text)
        found = re.findall(r"precision (\w+)>|precision = \[(\w+),", text)
        assert {first or second for first, second in found} == {name}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("op", OPS)
def test_value_and_gradient_lower_for_other_platforms(op: str, dtype: str, platform: str) -> None:
    function, arrays = value_and_gradient(op, dtype)
    export = importlib.import_module("jax.export").export
    program = export(function, platforms=[platform])(*arrays)
    assert program.platforms == (platform,)
    assert {out.dtype.name for out in program.out_avals} == {dtype}
    assert {element_types(line) for line in products(program.mlir_module())} == expected(op, dtype)


def test_root_without_centering_multiplies_inputs() -> None:
    """Of 3 locations with 4 features: the Gram matrix, and both products around its root."""
    jax, operator = importlib.import_module("jax"), importlib.import_module("bilinear.jax")
    x = np.zeros((2, 3, 4), DTYPES["bfloat16"])
    for center, count in ((True, 0), (False, 1 + 3 + 3)):
        root = jax.jit(functools.partial(operator.covariance_sqrt, center=center))
        program = importlib.import_module("jax.export").export(root, platforms=["cuda"])(x)
        types = [element_types(line) for line in products(program.mlir_module())]
        assert types.count(("bf16", "bf16", "f32")) == count


@pytest.mark.parametrize("size", [1, 3, 512])
def test_products_with_bfloat16_on_accelerators(size: int) -> None:
    """The function that CUDA, ROCm and TPU programs call, within the bound that it derives."""
    products_of = importlib.import_module("bilinear.backends.jax._products")
    random = np.random.default_rng(size)
    scales = 2.0 ** random.integers(-40, 40, (2, 4, 1))
    t = (random.standard_normal((2, 4, size)) * scales).astype(np.float32)
    b = random.standard_normal((2, 5, size)).astype(DTYPES["bfloat16"]).astype(np.float32)
    rule = "ncd,nld->ncl"
    result = np.asarray(products_of._in_bfloat16(t, b, rule=rule))
    wide = t.astype(np.longdouble), b.astype(np.longdouble)
    magnitude = np.einsum(rule, *map(np.abs, wide))
    truth = Bounded(np.einsum(rule, *wide), gamma(size + 2, "float32") / SLACK * magnitude)
    assert_within(result, truth, "float32", "product")
