"""`bilinear_pool`: the common tests, many channels and the range of float32."""

import importlib

import numpy as np
import pytest

from bilinear.testing import Case, check_against_reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded
from bilinear.testing.subjects import output_shape

from ..agreement import assert_derivative
from ..subjects import PRESENT, driver, kit_driver, over_backends
from .suite import (
    MAP,
    OTHER,
    VALID,
    check_changing_option,
    cotangent_of,
    derivative,
    operator_tests,
    over,
)

TestReference, TestParity, TestTransforms = operator_tests(
    "bilinear_pool",
    Case((MAP, OTHER), {"mask": VALID, "reduction": "sum", "eps": 0.0}),
    Case((MAP, OTHER), {"l2_eps": 1000.0}),
    Case((MAP,), {"packed": True, "mask": VALID, "root": "shifted", "eps": 1e-5}),
)


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("channels", "packed"),
    [((300,), False), ((300,), True), ((300, 40), False)],
    ids=["one stream", "packed", "two streams"],
)
def test_bilinear_pool_of_many_channels(
    channels: tuple[int, ...],
    packed: bool,
    dtype: str,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if backend == "torch":  # PyTorch computes chunks of samples
        fused = importlib.import_module("bilinear.backends.torch._fused_bilinear")
        monkeypatch.setattr(fused, "CHUNK", 2**20)
    arrays = tuple(normal(dtype, 7, 5, c, seed=c) for c in channels)
    mask = np.random.default_rng(0).random((7, 5)) < 0.6
    for options in ({"packed": packed}, {"packed": packed, "mask": mask}):
        case = Case(arrays, options)
        cotangent = normal(dtype, *output_shape("bilinear_pool", case), seed=2)
        check_against_reference(kit_driver(backend), "bilinear_pool", case, cotangent)


@over_backends
def test_both_gradients_of_one_stream_are_added_before_rounding(backend: str) -> None:
    kit, case = kit_driver(backend), Case((normal("bfloat16", 2, 5, 6),))
    cotangent = normal("bfloat16", 2, 36, seed=2)
    for mode in kit.modes[:2]:
        check_against_reference(kit, "bilinear_pool", case, cotangent, mode=mode)


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("backend", PRESENT)
def test_no_intermediate_value_of_the_gradient_overflows(backend: str, packed: bool) -> None:
    """``2 n² Z`` overflows, and a gradient that computes it is 0.

    For x = (a, b) at one of four locations, all entries of G are positive and the descriptor is
    (a, √(ab), √(ab), b) / (a + b). With γ = (1, 0, 0, 0), the gradient is that of a / (a + b).
    """
    a, b = 1.3e19, 1e18
    x = np.zeros((1, 4, 2), np.float32)
    x[0, 0] = a, b
    cotangent = np.zeros((1, 3 if packed else 4), np.float32)
    cotangent[0, 0] = 1e5
    (found,) = driver(backend).vjp("bilinear_pool", cotangent, (x,), {"packed": packed})
    expected = 1e5 * np.array([b, -a]) / (a + b) ** 2
    assert_rounded(found[0, 0], expected, 64)
    assert not found[0, 1:].any()


@over("hvps")
def test_dead_channel_and_short_vector_have_finite_second_derivatives(
    backend: str, transform: str
) -> None:
    x = MAP.copy()
    x[..., 1] = 0
    tangents = [np.where(x == 0, 0.0, 1.0)]  # the dead channel stays 0 along them
    case = Case((x,), {"eps": 0.0})
    cotangent = cotangent_of("bilinear_pool", case)
    apply = driver(backend).hvps[transform]
    (result,) = driver(backend).call(
        apply, "bilinear_pool", case.options, case.arrays, tangents, cotangent
    )
    (expected,) = derivative("bilinear_pool", case, tangents, cotangent)
    assert_derivative(result, expected, f"{backend}, {transform}")
    zero = np.zeros((2, 3))
    (result,) = driver(backend).call(
        apply, "l2_normalize", {"eps": 1e-3}, [zero], [zero + 1.0], zero + 1.0
    )
    assert not result.any()


@over_backends
def test_a_compiled_function_accepts_several_values_of_eps(backend: str) -> None:
    check_changing_option("bilinear_pool", "l2_eps", backend)


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("backend", PRESENT)
def test_the_norm_of_a_long_descriptor_has_all_digits(backend: str, packed: bool) -> None:
    """Millions of equal squares, added in turn, would lose 13 bits, which a bound allows."""
    x = np.full((1, 1, 2048), 0.7, np.float32)
    found = driver(backend).forward("bilinear_pool", (x,), {"packed": packed})
    norm = np.linalg.norm(found.astype(np.float64), axis=1)
    assert_rounded(norm.astype(np.float32), 1.0, 8)
