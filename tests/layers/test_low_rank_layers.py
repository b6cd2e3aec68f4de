"""Layers of low rank and `Projection`, in every namespace: weights, copies, masks, errors."""

import importlib
import inspect
import json

import numpy as np
import pytest

from bilinear.backends.initial_values import (
    classifier_projections,
    low_rank_projections,
    projections,
)
from bilinear.testing import DTYPES, assert_within
from bilinear.testing.bounds import apply_monotone, einsum, exact
from bilinear.testing.cases import normal

from ..subjects import PRESENT
from ..tolerances import PROJECTED, RECOMPUTED

LAYERS = {
    "LowRankBilinearPool": {"channels": [3, 2], "dim": 4, "rank": 2, "activation": "tanh"},
    "LowRankBilinearClassifier": {"channels": 3, "num_classes": 4, "rank": 3, "seed": 1},
    "HierarchicalBilinearPool": {"channels": [3, 2, 4], "dim": 4, "reduction": "sum"},
    "Projection": {"channels": 3, "dim": 2, "activation": "relu"},
}
"""Each layer, and what to make it of."""

over_backends = pytest.mark.parametrize("backend", PRESENT)

over_layers = pytest.mark.parametrize("name", LAYERS)


def words(backend: str):
    """What these tests do with the layers of a framework, in its own words."""
    return importlib.import_module(f"tests.drivers._{backend}_low_rank")


def test_initial_weights_keep_the_scale_and_ranks_are_split() -> None:
    u, v = low_rank_projections([400, 100], 50, 4, seed=0)
    assert (u.shape, v.shape) == ((400, 200), (100, 200))
    assert (float(u.std()), float(v.std())) == pytest.approx((0.05, 0.1), rel=0.02)
    plus, minus = classifier_projections(100, 50, 5, seed=0)
    assert (plus.shape, minus.shape) == ((50, 100, 3), (50, 100, 2))
    assert float(plus.std()) == pytest.approx(500**-0.5, rel=0.02)
    assert classifier_projections(100, 50, 1, seed=0)[1].shape == (50, 100, 0)


@over_backends
@over_layers
def test_layers_begin_equal_and_say_how_they_were_made(name: str, backend: str) -> None:
    made_of = LAYERS[name]
    layer = getattr(importlib.import_module(f"bilinear.{backend}"), name)(**made_of)
    parameters = inspect.signature(type(layer).__init__).parameters
    own = set(parameters) - {"self", "data_format", "device", "dtype", "kwargs", "rngs"}
    kept = {name: getattr(layer, name) for name in own}
    written = json.loads(json.dumps(kept))
    if isinstance(kept["channels"], tuple):  # static, and so hashed
        kept["channels"] = list(kept["channels"])
    assert written == kept
    assert made_of.items() <= kept.items()
    weights = words(backend).weights(layer)
    for key, expected in _drawn(name, made_of).items():
        np.testing.assert_array_equal(weights.pop(key), expected)
    assert not any(rest.any() for rest in weights.values())  # a bias begins at 0


def _drawn(name: str, made_of: dict) -> dict[str, np.ndarray]:
    channels, seed = made_of["channels"], made_of.get("seed", 0)
    if name == "LowRankBilinearPool":
        drawn = low_rank_projections(channels, made_of["dim"], made_of["rank"], seed)
        return dict(zip(("u", "v"), drawn, strict=True))
    if name == "LowRankBilinearClassifier":
        plus, minus = classifier_projections(
            channels, made_of["num_classes"], made_of["rank"], seed
        )
        return {"u_plus": plus, "u_minus": minus}
    if name == "HierarchicalBilinearPool":
        drawn = projections([(c, made_of["dim"]) for c in channels], seed)
        return {f"u{i}": weight for i, weight in enumerate(drawn, start=1)}
    (weight,) = projections([(channels, made_of["dim"])], seed)
    return {"weight": weight.T}


@over_backends
@over_layers
def test_what_a_layer_survives(name: str, backend: str) -> None:
    """Copies, files and the containers of its framework leave its results as they were."""
    channels = LAYERS[name]["channels"]
    listed = channels if isinstance(channels, list) else [channels]
    maps = [normal("float32", 2, 3, 4, c, seed=i) for i, c in enumerate(listed)]
    results = words(backend).apply_copies(name, LAYERS[name], maps)
    assert {"copy.deepcopy", "pickle"} <= set(results)
    expected = results.pop("eager")
    for way, result in results.items():
        np.testing.assert_allclose(result, expected, **RECOMPUTED, err_msg=way)


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="what Keras does by itself")
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Projection"])
def test_masks_that_keras_keeps_of_the_maps(name: str) -> None:
    listed = np.atleast_1d(LAYERS[name]["channels"]).tolist()
    keeps = np.random.default_rng(0).random((len(listed), 2, 3, 4)) < 0.7
    maps = [normal("float32", 2, 3, 4, c, seed=i) for i, c in enumerate(listed)]
    maps = [np.where(keep[..., None], m, 0) for m, keep in zip(maps, keeps, strict=True)]
    expected, *results = words("tensorflow").apply_with_masks(name, LAYERS[name], maps, keeps)
    for result in results:
        np.testing.assert_allclose(result, expected, **RECOMPUTED)


@over_backends
def test_descriptor_sizes(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    layers = {name: getattr(namespace, name)(**made_of) for name, made_of in LAYERS.items()}
    assert layers["LowRankBilinearPool"].descriptor_size(3, 2) == 4
    assert layers["HierarchicalBilinearPool"].descriptor_size(3, 2) == 12
    assert layers["LowRankBilinearClassifier"].descriptor_size(3) == 4
    assert layers["LowRankBilinearClassifier"].num_classes == 4


@over_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_projection(dtype: str, backend: str) -> None:
    """Of maps of any rank, in any layout, activated or not; and its gradients."""
    for spatial, activation in (((), None), ((4,), "relu"), ((2, 3), "relu"), ((2, 1, 3), None)):
        x = normal(dtype, 2, *spatial, 3)
        (weight,) = projections([(3, 4)], 2)
        cotangent = normal(dtype, 2, *spatial, 4, seed=1)
        made_of = {"channels": 3, "dim": 4, "activation": activation, "seed": 2}
        for layout, (value, dx, dw) in words(backend).project(x, cotangent, made_of).items():
            what = f"Projection, {backend}, {dtype}, {layout}"
            acc = "float64" if dtype == "float64" else "float32"
            flat = exact(x.reshape(2, -1, 3).astype(np.longdouble))
            w = exact(weight.astype(DTYPES[dtype]).astype(np.longdouble))
            p = einsum("nlc,cd->nld", flat, w, acc)
            relu = (lambda a: np.maximum(a, 0)) if activation else (lambda a: a)
            assert_within(value.reshape(2, -1, 4), apply_monotone(relu, p), dtype, what)
            ct = cotangent.reshape(2, -1, 4).astype(np.longdouble)
            ct = exact(np.where(p.value <= 0, 0, ct) if activation else ct)
            assert_within(dx.reshape(2, -1, 3), einsum("nld,cd->nlc", ct, w, acc), dtype, what)
            assert_within(dw, einsum("nld,nlc->dc", ct, flat, acc), dtype, what)


@over_backends
@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_masked_location_does_not_enter_a_projection(activation: str, backend: str) -> None:
    """NaN included: its result and gradient are 0, and the others' are as without it."""
    x, (weight,) = normal("float32", 2, 3, 4, 3), projections([(3, 2)], 0)
    keep = np.random.default_rng(0).random((2, 3, 4)) < 0.7
    x[~keep] = np.nan
    clean, cotangent = np.where(keep[..., None], x, 0), normal("float32", 2, 3, 4, 2, seed=1)
    expected = clean @ weight
    ct = np.where(keep[..., None], cotangent, 0)
    if activation:
        expected, ct = np.maximum(expected, 0), np.where(expected > 0, ct, 0)
    gradients = ct @ weight.T, np.einsum("nijd,nijc->dc", ct, clean)
    made_of = {"channels": 3, "dim": 2, "activation": activation}
    for layout, results in words(backend).project(x, cotangent, made_of, keep).items():
        for result, right in zip(results, (expected, *gradients), strict=True):
            np.testing.assert_allclose(result, right, **PROJECTED, err_msg=layout)


@over_backends
@over_layers
def test_integer_maps_are_refused(name: str, backend: str) -> None:
    listed = np.atleast_1d(LAYERS[name]["channels"]).tolist()
    maps = [np.ones((2, 3, 4, c), np.int32) for c in listed]
    with pytest.raises(TypeError, match="x must be of a real floating type"):
        words(backend).apply_layer(name, LAYERS[name], maps)


@over_backends
@pytest.mark.parametrize(
    ("name", "made_of", "sentence"),
    [
        ("LowRankBilinearPool", {"channels": [3, 2, 1], "dim": 4}, "channels must be a positive"),
        ("LowRankBilinearPool", {"channels": 3, "dim": 0}, "dim must be a positive"),
        (
            "LowRankBilinearPool",
            {"channels": 3, "dim": 4, "seed": -1},
            "seed must be None or an integer",
        ),
        ("HierarchicalBilinearPool", {"channels": [3], "dim": 4}, "channels must be a list of two"),
        ("LowRankBilinearClassifier", {"channels": 3, "num_classes": 0, "rank": 2}, "num_classes"),
        ("Projection", {"channels": 3, "dim": 2, "activation": "tanh"}, "activation must be None"),
    ],
)
def test_layers_are_refused_when_made(name: str, made_of: dict, sentence: str, backend) -> None:
    with pytest.raises(ValueError, match=f"{name}: {sentence}"):
        getattr(importlib.import_module(f"bilinear.{backend}"), name)(**made_of)


@over_backends
@over_layers
def test_maps_are_refused_that_the_layer_was_not_made_for(name: str, backend: str) -> None:
    run = words(backend).apply_layer
    maps = [normal("float32", 2, 3, 4, 7)] * max(np.size(LAYERS[name]["channels"]), 1)
    with pytest.raises(ValueError, match="channels that the layer was made for"):
        run(name, LAYERS[name], maps)
    if len(maps) > 1:
        with pytest.raises(ValueError, match="one map for each of channels"):
            run(name, LAYERS[name], maps[:1])
