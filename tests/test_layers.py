"""`BilinearPool` in every door: layouts, spatial ranks, masks, and what it survives."""

import math

import numpy as np
import pytest

from .closeness import assert_within
from .ops._cases import DTYPES, Case, seeded
from .ratios import Subject
from .subjects import PRESENT, driver, truth, vjp_truth

LAYOUTS = [(backend, layout) for backend in PRESENT for layout in driver(backend).layouts]
over_layouts = pytest.mark.parametrize(("backend", "layout"), LAYOUTS)
over_backends = pytest.mark.parametrize("backend", PRESENT)


def check(backend: str, maps, *, mask=None, parameters=None, layout="", mode="eager") -> None:
    """The layer on maps equals the operator on their locations, gradient included."""
    __tracebackhide__ = True
    locations = math.prod(maps[0].shape[1:-1])
    flat = tuple(m.reshape(m.shape[0], locations, m.shape[-1]) for m in maps)
    options = dict(parameters or {})
    if mask is not None:
        options["mask"] = mask.reshape(mask.shape[0], locations)
    case = Case(flat, options)
    expected = truth("bilinear_pool", case)
    cotangent = np.random.default_rng(4).standard_normal(expected.value.shape)
    cotangent = cotangent.astype(maps[0].dtype)
    result, gradients = driver(backend).layer(
        cotangent, maps, mask=mask, parameters=parameters, layout=layout, mode=mode
    )
    dtype = maps[0].dtype.name
    what = f"BilinearPool, {backend} {layout} {mode}"
    subject = Subject("BilinearPool", backend, dtype, "forward")
    assert_within(result, expected, dtype, what, subject)
    for g, m, bounded in zip(
        gradients, maps, vjp_truth("bilinear_pool", case, cotangent), strict=True
    ):
        assert g.shape == m.shape
        flat, subject = g.reshape(bounded.value.shape), subject._replace(direction="gradient")
        assert_within(flat, bounded, dtype, f"{what}, gradient", subject)


@over_layouts
@pytest.mark.parametrize("dtype", DTYPES)
def test_image_maps(backend: str, layout: str, dtype: str) -> None:
    x, y = seeded(dtype, 2, 3, 4, 5), seeded(dtype, 2, 3, 4, 2, seed=1)
    check(backend, (x,), layout=layout)
    check(backend, (x, y), layout=layout, parameters={"reduction": "sum", "eps": 1e-3})


@over_backends
@pytest.mark.parametrize("spatial", [(), (6,), (2, 3), (2, 3, 2), (1, 1)])
def test_any_spatial_rank(backend: str, spatial: tuple[int, ...]) -> None:
    check(backend, (seeded("float32", 2, *spatial, 3), seeded("float32", 2, *spatial, 2)))


@over_layouts
def test_masks_at_the_resolution_of_the_map(backend: str, layout: str) -> None:
    x, y = seeded("float64", 2, 3, 4, 3), seeded("float64", 2, 3, 4, 2, seed=1)
    mask = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    x[~mask] = np.nan
    check(backend, (x,), mask=mask, layout=layout)
    check(backend, (x, y), mask=mask, layout=layout)


@over_backends
def test_compiled_layer(backend: str) -> None:
    x, y = seeded("float32", 2, 3, 4, 3), seeded("float32", 2, 3, 4, 2, seed=1)
    for mode in driver(backend).modes[1:]:
        check(backend, (x, y), mode=mode)


@over_backends
def test_empty_batch(backend: str) -> None:
    maps = (np.zeros((0, 3, 4, 3), np.float32),)
    check(backend, maps)
    check(backend, maps, mask=np.zeros((0, 3, 4), bool))


@over_backends
def test_what_a_pool_survives(backend: str) -> None:
    assert {"copy.deepcopy", "pickle", "repr"} <= set(driver(backend).pool_survives())


@over_backends
def test_descriptor_size(backend: str) -> None:
    pool = driver(backend).pool()
    assert pool.descriptor_size(512) == 512 * 512
    assert pool.descriptor_size(512, 64) == 512 * 64
