"""Every preset, in every namespace, against its published formula written out here in NumPy."""

import importlib

import numpy as np
import pytest

from bilinear import presets, reference
from bilinear.contract import check_eps, check_floor
from bilinear.presets import PRESETS, equivalent_eps, explain, floor_of_squared
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded
from bilinear.testing.tolerances import SLACK, UNIT_ROUNDOFF

from ..published import (
    FORMULAS,
    LOCATIONS,
    C,
    N,
    democratic,
    mean,
    normalize,
    outer_sum,
    relu_root,
    signed_root,
    target,
)
from ..subjects import PRESENT, kit_driver, over_backends
from ..tolerances import COMPLEX_STEP

SIGNS = [1, -1, 1, -1, 0]
"""Of the channels: no sum of products cancels, and one channel is dead."""
MAP = np.abs(normal("float64", N, 3, 4, C)) * SIGNS
POSITIVE = np.abs(MAP)
VECTORS = np.abs(normal("float64", N, 3)), np.abs(normal("float64", N, 2, seed=1)) * [1, -1]

ARGUMENTS = {
    "hawkeye-cbp": {"channels": C, "dim": 2, "seed": 1},
    "fast-mpn-cbp": {"channels": C, "dim": 2, "seed": 1},
    "lrbp": {"channels": C, "num_classes": 3},
}
"""What a preset leaves to its user; few bins, so that each is well away from 0."""

WITHOUT_SIGN = ("haomood", "hawkeye")


TERMS = 20 * LOCATIONS * C
"""Roundings: those of 12 places in a product, of 25 entries in a norm, of a sketch's transforms
and, amplified by at most (3/2)⁵, of 15 products of matrices of 5 rows."""


def maps_of(name: str) -> tuple[np.ndarray, ...]:
    if name == "block":
        return VECTORS
    return (POSITIVE if name in WITHOUT_SIGN else MAP,)


def run(backend: str, name: str, maps, cotangent, **arguments):
    """Descriptors of the layer that `preset` makes, and the gradient of the feature maps."""
    parameters = {"name": name, **ARGUMENTS.get(name, {}), **arguments}
    layer = kit_driver(backend).layer
    assert layer is not None
    result, gradients = layer("preset", cotangent, maps, parameters=parameters)
    return result, gradients[: len(maps)]


def descriptors(name: str, maps) -> np.ndarray:
    return FORMULAS[name](*(m.reshape(N, -1, m.shape[-1]) for m in maps))


def test_every_preset_is_written_out_here() -> None:
    assert set(FORMULAS) == set(PRESETS)
    assert {name for name, preset in PRESETS.items() if preset.published} == set(PUBLISHED)


@over_backends
@pytest.mark.parametrize("name", PRESETS)
def test_forward(name: str, backend: str) -> None:
    maps = maps_of(name)
    expected = descriptors(name, maps)
    result, _ = run(backend, name, maps, np.ones_like(expected))
    scale = None
    if name == "lrbp":  # a difference of sums
        scale = float(np.sum(MAP**2))
    assert_rounded(result, expected, TERMS, f"{name}, {backend}", scale=scale)


def with_slope(delta: float, added: float):
    """Gradient of sum pooling, the root's published slope, and the norm's quotient rule.

    The second result is the same with all signs equal: the scale of the sums.
    """

    def gradients(x, cotangent):
        g = outer_sum(x)
        s = signed_root(g)
        n = np.sqrt(np.sum(s * s, 1, keepdims=True) + added)
        u = s / n
        h = (cotangent - u * np.sum(u * cotangent, 1, keepdims=True)) / n
        size = np.abs(cotangent) + np.abs(u) * np.sum(np.abs(u * cotangent), 1, keepdims=True)
        results = []
        for part, features in ((h, x), (size / n, np.abs(x))):
            slope = (part * 0.5 / (np.sqrt(np.abs(g)) + delta)).reshape(N, C, C)
            results.append(features @ (slope + slope.swapaxes(1, 2)))
        return results

    return gradients


def with_target_as_it_is(x, cotangent):
    """By the complex step, in which the target of the weights does not take part."""
    aim, gradient = target(x), np.empty_like(x)
    for index in np.ndindex(x.shape):
        stepped = x.astype(complex)
        stepped[index] += 1e-30j
        gradient[index] = np.sum(cotangent * democratic(stepped, aim).imag) / 1e-30
    scale = COMPLEX_STEP / (SLACK * TERMS * UNIT_ROUNDOFF["float64"]) * np.abs(gradient)
    return gradient, scale


PUBLISHED = {
    "matconvnet-gao": with_slope(0.1, 0.0),
    "scaled-sqrt": with_slope(0.1, 0.0),
    "caffe-gao": with_slope(0.03, 1e-7),
    "democratic": with_target_as_it_is,
}


@over_backends
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_backward(name: str, backend: str) -> None:
    """It changes nothing forward, and gives a dead channel the slope that was published."""
    x = MAP if name != "democratic" else normal("float64", N, 3, 4, C)
    flat = x.reshape(N, LOCATIONS, C)
    cotangent = normal("float64", N, C * C, seed=2)
    result, (gradient,) = run(backend, name, (x,), cotangent, published_backward=True)
    assert_rounded(result, FORMULAS[name](flat), TERMS, f"{name}, {backend}")
    expected, scale = PUBLISHED[name](flat, cotangent)
    what = f"{name}, {backend}, gradient"
    assert_rounded(gradient.reshape(flat.shape), expected, TERMS, what, scale=float(scale.max()))
    _, (true,) = run(backend, name, (x,), cotangent)
    assert np.abs(true - gradient).max() > 1e-3 * np.abs(gradient).max(), "the derivative as well"


@over_backends
@pytest.mark.parametrize(
    ("name", "published"),
    [*((name, False) for name in PRESETS), *((name, True) for name in PUBLISHED)],
)
def test_an_all_zero_map_is_finite(name: str, published: bool, backend: str) -> None:
    """Where published code divides 0 by 0."""
    maps = tuple(np.zeros_like(m) for m in maps_of(name))
    shape = descriptors(name, maps_of(name)).shape
    more = {"published_backward": True} if published else {}
    result, gradients = run(backend, name, maps, np.ones(shape), **more)
    assert np.isfinite(result).all()
    assert result.any() == (name in WITHOUT_SIGN)
    assert not any(g.any() for g in gradients), "the gradient of a product is 0 at 0"


@over_backends
def test_arguments_are_added_to_those_of_the_preset(backend: str) -> None:
    result, _ = run(backend, "umass", (MAP,), np.ones((N, C * (C + 1) // 2)), packed=True)
    roots = relu_root(mean(MAP.reshape(N, LOCATIONS, C))).reshape(N, C, C)
    assert_rounded(result, normalize(reference.half_vectorize(roots)), TERMS)


@over_backends
def test_what_is_no_preset_is_refused(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    with pytest.raises(ValueError, match=r"must be one of default, paper, .*; got 'bcnn'"):
        namespace.preset("bcnn")
    with pytest.raises(
        ValueError, match=r"must be for one of matconvnet-gao, caffe-gao, .*'umass'"
    ):
        namespace.preset("umass", published_backward=True)


def test_no_eps_vanishes_in_half_precision() -> None:
    for name in PRESETS:
        described = presets.describe(name)
        for arguments in (described, described.get("pool") or {}):
            check_eps(name, arguments.get("eps", 0.0), "float16")
            check_floor(name, arguments.get("l2_eps", 1.0), "float16")


@pytest.mark.parametrize("eps", [1e-10, 1e-5])
def test_an_eps_of_the_mean_times_the_locations_is_that_of_the_sum(eps: float) -> None:
    x = MAP.reshape(N, LOCATIONS, C)
    same = equivalent_eps(eps, locations=LOCATIONS, of="mean", to="sum")
    assert_rounded(np.array(same), 12 * eps, 1)
    pooled = reference.bilinear_pool(x, eps=eps)
    assert_rounded(reference.bilinear_pool(x, reduction="sum", eps=same), pooled, TERMS)
    assert equivalent_eps(same, locations=LOCATIONS, of="sum", to="sum") == same
    back = equivalent_eps(same, locations=LOCATIONS, of="sum", to="mean")
    assert_rounded(np.array(back), eps, 2)
    for wrong in ({"locations": 0, "of": "mean"}, {"locations": 4, "of": "max"}):
        with pytest.raises(ValueError, match="must be"):
            equivalent_eps(eps, to="sum", **wrong)


def test_an_eps_behind_a_matrix_root_grows_with_the_root_of_the_locations() -> None:
    x = MAP.reshape(N, LOCATIONS, C)
    assert "eps 1e-05 of the mean is 0.00028 of the sum at 784 " in explain("umass-improved", 784)

    def improved(reduction: str, eps: float) -> np.ndarray:
        pooled = reference.matrix_sqrt(reference.outer_pool(x, reduction=reduction))
        roots = reference.signed_sqrt(pooled.reshape(N, -1), eps=eps, root="shifted")
        return reference.l2_normalize(roots)

    assert_rounded(improved("sum", 1e-5 * LOCATIONS**0.5), improved("mean", 1e-5), TERMS)


def test_an_eps_added_to_the_squares_divides_by_the_locations() -> None:
    """Of sums it is the larger share of the norm, the fewer the locations are."""
    text = explain("caffe-gao", 784)
    assert "l2_eps 1e-07, added to Σz² of the sum, is 1.28e-10 of the mean at 784" in text
    x = 1e-3 * MAP.reshape(N, LOCATIONS, C)
    same = equivalent_eps(1e-7, locations=LOCATIONS, of="sum", to="mean")

    def added(z: np.ndarray, eps: float) -> np.ndarray:
        return z / np.sqrt(np.sum(z * z, 1, keepdims=True) + eps)

    of_sums = added(signed_root(outer_sum(x)), 1e-7)
    assert_rounded(added(signed_root(mean(x)), same), of_sums, TERMS)
    twice = added(signed_root(outer_sum(np.concatenate([x, x], 1))), 1e-7)
    assert (1 - np.linalg.norm(twice, axis=1) < 0.6 * (1 - np.linalg.norm(of_sums, axis=1))).all()


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="dtype policies and layouts are Keras'")
@pytest.mark.parametrize(
    ("dtype", "inner"), [("float64", "float64"), ("mixed_float16", "float32"), (None, "float32")]
)
def test_a_layer_within_has_the_layout_and_the_sums_of_the_one_around(dtype, inner) -> None:
    namespace = importlib.import_module("bilinear.tensorflow")
    arguments = {"data_format": "channels_first", "dtype": dtype}
    made, default = (
        namespace.preset("democratic", **arguments),
        namespace.DemocraticPool(**arguments),
    )
    for layer in (made, default):
        assert (layer.pool.data_format, layer.pool.compute_dtype) == ("channels_first", inner)
    default.pool = namespace.BilinearPool(
        "sum", eps=1e-5, root="shifted", **arguments | {"dtype": inner}
    )
    x = MAP.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(np.asarray(made(x)), np.asarray(default(x)))


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="layouts are Keras'")
def test_a_pool_of_another_layout_is_refused() -> None:
    namespace = importlib.import_module("bilinear.tensorflow")
    other = namespace.BilinearPool(data_format="channels_first")
    with pytest.raises(ValueError, match=r"pool must have data_format='channels_last'; got 'cha"):
        namespace.DemocraticPool(other, data_format="channels_last")


def test_tensorflows_epsilon_is_a_floor_on_the_square() -> None:
    z = np.array([[3e-7, 4e-7], [3.0, 4.0]])
    expected = z / np.sqrt(np.maximum(np.sum(z * z, 1, keepdims=True), 1e-12))
    assert_rounded(reference.l2_normalize(z, eps=floor_of_squared(1e-12)), expected, 8)


def test_a_preset_in_words() -> None:
    text = explain("umass", 784)
    assert "BilinearPool(reduction='mean', eps=1e-05, root='shifted', l2_eps=1e-12)" in text
    assert "eps 1e-05 of the mean is 0.00784 of the sum at 784 locations" in text
    for name, preset in PRESETS.items():
        assert preset.source in explain(name, 196)
        assert preset.note in explain(name, 196)
