"""Layers of low rank and `Projection`, in every namespace: weights, copies, masks."""

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

from ..subjects import driver, layer_checks, over_backends
from ..tolerances import PROJECTED, RECOMPUTED

LAYERS = {
    "LowRankBilinearPool": {"channels": [3, 2], "dim": 4, "rank": 2, "activation": "tanh"},
    "LowRankBilinearClassifier": {"channels": 3, "num_classes": 4, "rank": 3, "seed": 1},
    "HierarchicalBilinearPool": {"channels": [3, 2, 4], "dim": 4, "reduction": "sum"},
    "Projection": {"channels": 3, "dim": 2, "activation": "relu"},
}
"""Each layer, and what to make it of."""

over_layers = pytest.mark.parametrize("name", LAYERS)


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
    names = set(parameters) - {"self", "data_format", "device", "dtype", "kwargs", "rngs"}
    written = json.loads(json.dumps({name: getattr(layer, name) for name in names}))
    assert made_of.items() <= written.items()
    weights = layer_checks(backend).weights(layer)
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
    results = layer_checks(backend).apply_copies(name, LAYERS[name], maps)
    assert {"copy.deepcopy", "pickle"} <= set(results)
    expected = results.pop("eager")
    for way, result in results.items():
        np.testing.assert_allclose(result, expected, **RECOMPUTED, err_msg=way)


@over_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_projection(dtype: str, backend: str) -> None:
    """Of maps of any rank, in any layout, activated or not; and its gradients."""
    for spatial, activation in (((), None), ((4,), "relu"), ((2, 3), "relu"), ((2, 1, 3), None)):
        x = normal(dtype, 2, *spatial, 3)
        (weight,) = projections([(3, 4)], 2)
        cotangent = normal(dtype, 2, *spatial, 4, seed=1)
        made_of = {"channels": 3, "dim": 4, "activation": activation, "seed": 2}
        for layout in driver(backend).layouts:
            value, (dx, dw) = driver(backend).layer(
                "Projection", cotangent, [x], parameters=made_of, layout=layout
            )
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
    mask = np.random.default_rng(0).random((2, 3, 4)) < 0.7
    x[~mask] = np.nan
    clean, cotangent = np.where(mask[..., None], x, 0), normal("float32", 2, 3, 4, 2, seed=1)
    expected = clean @ weight
    ct = np.where(mask[..., None], cotangent, 0)
    if activation:
        expected, ct = np.maximum(expected, 0), np.where(expected > 0, ct, 0)
    gradients = ct @ weight.T, np.einsum("nijd,nijc->dc", ct, clean)
    made_of = {"channels": 3, "dim": 2, "activation": activation}
    given = {"mask": mask, "parameters": made_of}
    ways = {
        layout: driver(backend).layer("Projection", cotangent, [x], layout=layout, **given)
        for layout in driver(backend).layouts
    }
    if backend == "tensorflow":
        attached = driver(backend).project_with_attached_mask(cotangent, x, mask, made_of)
        ways["attached mask"] = attached
    for way, (value, found) in ways.items():
        for result, right in zip((value, *found), (expected, *gradients), strict=True):
            np.testing.assert_allclose(result, right, **PROJECTED, err_msg=way)
