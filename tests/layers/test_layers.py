"""`BilinearPool` in every namespace: any size, the masks of Keras, copies and archives."""

import importlib
import re
from functools import partial

import numpy as np
import pytest

from bilinear.contract.arrays import MASK_SHAPE, SAME_LOCATIONS
from bilinear.testing import DTYPES, LAYERS, Case, assert_within, truth
from bilinear.testing.cases import normal
from bilinear.testing.parity import check_layer
from bilinear.testing.ratios import Subject

from ..subjects import PRESENT, driver, kit_driver, over_backends

LAYOUTS = [(backend, layout) for backend in PRESENT for layout in driver(backend).layouts]
COMPILED = [  # torch's second layout is of memory only: one more compilation of the same graph
    (backend, layout)
    for backend, layout in LAYOUTS
    if len(driver(backend).modes) > 1 and (backend, layout) != ("torch", "channels_last")
]
needs_keras = pytest.mark.skipif("tensorflow" not in PRESENT, reason="what Keras does by itself")


def check(backend: str, maps, **options) -> None:
    check_layer(kit_driver(backend), "BilinearPool", maps, **options)


@over_backends
def test_compiled_layer(backend: str) -> None:
    x, y = normal("float32", 2, 3, 4, 3), normal("float32", 2, 3, 4, 2, seed=1)
    for mode in driver(backend).modes[1:]:
        check(backend, (x, y), mode=mode)


@pytest.mark.parametrize("arrays", ["x", "x and y", "x, y and mask"])
@pytest.mark.parametrize(("backend", "layout"), COMPILED)
def test_sizes_unknown_until_run_time(backend: str, layout: str, arrays: str) -> None:
    """Traced or compiled once, then called at two sizes of every axis."""
    streams, masked, layer = 2 if "y" in arrays else 1, "mask" in arrays, None
    for n, h, w, c, d in ((2, 3, 4, 5, 7), (4, 2, 3, 7, 6)):
        maps = (normal("float32", n, h, w, c), normal("float32", n, h, w, d, seed=1))[:streams]
        mask = np.random.default_rng(n).random((n, h, w)) < 0.5 if masked else None
        layer = layer or driver(backend).dynamic_layer(maps, mask, layout=layout)
        run = partial(layer, mask=mask)
        check(backend, maps, mask=mask, layout=layout, mode="any size", run=run)


@needs_keras
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_wrong_sizes_met_at_run_time(layout: str) -> None:
    """Only TensorFlow needs these checks: torch.compile traces again, jax.export has others."""
    x, y = normal("float32", 2, 3, 4, 3), normal("float32", 2, 4, 3, 5)
    mask, cotangent = np.ones((2, 4, 3), bool), np.ones((2, 15), np.float32)
    layer = driver("tensorflow").dynamic_layer((x, y), mask, layout=layout)
    for maps, sentence in (((x, y), SAME_LOCATIONS), ((x, x), MASK_SHAPE)):
        with pytest.raises(Exception, match=re.escape(f"BilinearPool: {sentence}")):
            layer(cotangent, maps, mask)


@needs_keras
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("names", [("x_mask", "y_mask"), ("x_mask", "y_mask", "mask"), ("y_mask",)])
def test_a_location_is_kept_where_every_mask_is_true(names: tuple[str, ...], layout: str) -> None:
    masks = dict(zip(names, np.random.default_rng(0).random((3, 2, 3, 4)) < 0.7, strict=False))
    valid = np.logical_and.reduce(list(masks.values()))
    x, y = normal("float64", 2, 3, 4, 3), normal("float64", 2, 3, 4, 2, seed=1)
    x[~valid] = np.nan
    layer = partial(driver("tensorflow").layer, "BilinearPool", mask=masks, layout=layout)
    check("tensorflow", (x, y), mask=valid, layout=layout, run=layer)


@needs_keras
@pytest.mark.parametrize("dtypes", [("float32",), ("float64", "float32"), ("bfloat16", "float64")])
@pytest.mark.parametrize(
    ("policy", "dtype"),
    [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16"), ("float64", "float64")],
)
def test_keras_casts_to_the_dtype_policy(policy: str, dtype: str, dtypes: tuple[str, ...]) -> None:
    """Whatever the streams are, equal or not, the layer computes as its policy says."""
    maps = [normal(of_map, 2, 12, 3 - i, seed=i) for i, of_map in enumerate(dtypes)]
    result = driver("tensorflow").under_policy(policy, maps)
    expected = truth("bilinear_pool", Case(tuple(m.astype(DTYPES[dtype]) for m in maps)))
    subject = Subject("BilinearPool", "tensorflow", dtype, "forward")
    assert_within(result, expected, dtype, f"BilinearPool under {policy}", subject)


@needs_keras
def test_keras_casts_no_integers() -> None:
    """A policy is for real numbers only, so integers meet the contract as in every namespace."""
    with pytest.raises(TypeError, match="x must be of a real floating type"):
        driver("tensorflow").under_policy("float32", [np.ones((2, 12, 3), np.int32)])


@over_backends
def test_what_a_pool_survives(backend: str) -> None:
    assert {"copy.deepcopy", "pickle", "repr"} <= set(driver(backend).check_pool_copies())


SIZES = [
    ("BilinearPool", {}, (512,), 512 * 512),
    ("BilinearPool", {}, (512, 64), 512 * 64),
    ("BilinearPool", {"packed": True}, (512,), 131_328),
    ("CovariancePool", {}, (3,), 6),
    ("ImprovedBilinearPool", {}, (3,), 9),
    ("DemocraticPool", {}, (3,), 9),
    ("CompactBilinearPool", {"channels": [5, 3], "dim": 8}, (5, 3), 8),
    ("LowRankBilinearPool", {"channels": [3, 2], "dim": 4, "rank": 2}, (3, 2), 4),
    ("HierarchicalBilinearPool", {"channels": [3, 2, 4], "dim": 4}, (3, 2), 12),
    ("LowRankBilinearClassifier", {"channels": 3, "num_classes": 4}, (3,), 4),
]


@over_backends
def test_descriptor_size(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    for name, arguments, channels, size in SIZES:
        assert getattr(namespace, name)(**arguments).descriptor_size(*channels) == size, name
    with pytest.raises(ValueError, match="packed=True is for one stream; got 512 and 64 channels"):
        namespace.BilinearPool(packed=True).descriptor_size(512, 64)
    for name in ("CovariancePool", "ImprovedBilinearPool"):
        pool = getattr(namespace, name)()
        for layer in (pool, namespace.DemocraticPool(pool)):
            with pytest.raises(ValueError, match=f"{name}: the layer is for one stream"):
                layer.descriptor_size(3, 2)


@over_backends
def test_every_layer_of_a_namespace_is_in_the_table(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    names = {
        name for name in namespace.__all__ if hasattr(getattr(namespace, name), "descriptor_size")
    }
    assert names == set(LAYERS)
