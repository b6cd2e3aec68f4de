"""Products of half-precision inputs in PyTorch, which only CUDA computes with float32 results.

On the CPU, a stand-in for the products of CUDA multiplies upcast matrices.
"""

import importlib

import numpy as np
import pytest

from bilinear.testing import DTYPES, OPS, check_against_reference
from bilinear.testing.cases import normal
from bilinear.testing.subjects import output_shape

from ..subjects import PRESENT, driver, kit_driver

pytestmark = pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch is not installed")
OF_INPUTS = (
    "outer_pool",
    "bilinear_pool",
    "covariance_sqrt",
    "democratic_weights",
    "low_rank_pool",
    "low_rank_scores",
    "random_maclaurin",
    "tensor_sketch",
)
HALF_PRECISION = ("bfloat16", "float16")


@pytest.fixture
def multiplied(monkeypatch) -> list[str]:
    """The dtypes of the factors of all products whose results have another dtype."""
    torch, device = importlib.import_module("torch"), importlib.import_module("tests.drivers.torch")
    tensors = importlib.import_module("bilinear.backends.torch._tensors")
    dtypes = [getattr(torch, name) for name in HALF_PRECISION]
    found: list[str] = []
    on_cuda = device.DEVICE.startswith("cuda")

    def standing_in(product):
        def multiply(a, b, *, out_dtype=None, out=None):
            if out_dtype is None:
                return product(a, b, out=out)
            assert a.dtype == b.dtype
            found.append(str(a.dtype).removeprefix("torch."))
            if on_cuda:
                return product(a, b, out_dtype=out_dtype, out=out)
            return product(a.to(out_dtype), b.to(out_dtype), out=out)

        return multiply

    for name in ("mm", "bmm"):
        monkeypatch.setattr(torch, name, standing_in(getattr(torch, name)))
    if not on_cuda:
        passes = importlib.import_module("bilinear.backends.torch._bilinear_passes")
        for module in (tensors, passes):
            monkeypatch.setattr(module, "multiplies", lambda dtype, device: dtype in dtypes)
    return found


@pytest.mark.parametrize("dtype", HALF_PRECISION)
@pytest.mark.parametrize("op", OF_INPUTS)
def test_inputs_are_multiplied_in_half_precision(op: str, dtype: str, multiplied) -> None:
    cases = OPS[op].edges(dtype) | dict(enumerate(OPS[op].smooth(dtype)))
    for label, case in cases.items():
        cotangent = normal(dtype, *output_shape(op, case), seed=1)
        check_against_reference(kit_driver("torch"), op, case, cotangent, label=str(label))
    assert set(multiplied) == {dtype}


@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_transforms_of_such_products(dtype: str, multiplied) -> None:
    """They are mapped, and differentiated forward and twice. Sums of small integers are exact."""
    torch = importlib.import_module("torch")
    operator = importlib.import_module("bilinear.torch").outer_pool
    values = np.random.default_rng(0).integers(-3, 4, (2, 2, 3, 4)).astype(DTYPES[dtype])
    x, dx = both = driver("torch").to_native(values)

    def pool(x):
        return operator(x, reduction="sum")

    def slopes(x):
        return torch.func.grad(lambda x: (pool(x).float() ** 2).sum())(x)

    mapped = torch.func.vmap(pool)(both)
    assert torch.equal(mapped, torch.stack([x.mT @ x, dx.mT @ dx]))
    tangent = x.mT @ dx + dx.mT @ x
    assert torch.equal(torch.func.jvp(pool, (x,), (dx,))[1], tangent)
    second = 4 * (dx @ (x.mT @ x) + x @ tangent)
    assert torch.equal(torch.func.jvp(slopes, (x,), (dx,))[1], second)
    assert set(multiplied) == {dtype}


@pytest.mark.parametrize(("dtype", "count"), [("bfloat16", 3), ("float16", 0)])
@pytest.mark.parametrize(("op", "products"), [("outer_pool", 2), ("bilinear_pool", 1)])
def test_derivatives_multiply_three_bfloat16_terms(op, products, dtype, count, multiplied) -> None:
    """The float32 cotangent of a product of bfloat16 inputs is split; float16 is upcast."""
    x = driver("torch").to_native(normal(dtype, 2, 3, 4)).requires_grad_()
    result = getattr(importlib.import_module("bilinear.torch"), op)(x)
    forward = len(multiplied)
    result.sum().backward()
    assert len(multiplied) - forward == products * count


@pytest.mark.parametrize(
    ("dtype", "device", "available", "expected"),
    [
        ("bfloat16", "cuda", True, True),
        ("float16", "cuda", True, True),
        ("bfloat16", "cuda", False, False),
        ("bfloat16", "cpu", True, False),
        ("float32", "cuda", True, False),
    ],
)
def test_which_devices_multiply_half_precision(dtype, device, available, expected, monkeypatch):
    torch = importlib.import_module("torch")
    tensors = importlib.import_module("bilinear.backends.torch._tensors")
    monkeypatch.setattr(tensors, "_RESULTS_IN_FLOAT32", available)
    assert tensors.multiplies(getattr(torch, dtype), torch.device(device)) == expected
