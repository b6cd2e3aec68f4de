"""Layers on maps equal their operators on the locations of the maps, gradients included."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .cases import Case, seeded
from .closeness import assert_within
from .driver import Driver
from .ratios import Subject
from .subjects import LAYERS, truth, vjp_truth

Maps = tuple[np.ndarray, ...]


def maps(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Channels-last maps, and how the layer is called: one stream, two, masks, any rank."""
    x, y = seeded(dtype, 2, 3, 4, 5), seeded(dtype, 2, 3, 4, 2, seed=1)
    keep = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    poisoned = np.where(keep[..., None], x, np.asarray(np.nan, x.dtype))
    given: dict[str, tuple[Maps, dict[str, Any]]] = {
        "one stream": ((x,), {}),
        "two streams": ((x, y), {"parameters": {"reduction": "sum", "eps": 1e-3}}),
        "masked": ((poisoned,), {"mask": keep}),
        "two streams, masked": ((poisoned, y), {"mask": keep}),
        "empty batch": ((x[:0],), {}),
        "empty batch, masked": ((x[:0],), {"mask": keep[:0]}),
    }
    for spatial in ((), (6,), (2, 3, 2), (1, 1)):
        pair = seeded(dtype, 2, *spatial, 3), seeded(dtype, 2, *spatial, 2, seed=1)
        given[f"{len(spatial)} spatial axes of {math.prod(spatial)}"] = (pair, {})
    return given


def check_layer(
    driver: Driver,
    name: str,
    maps: Maps,
    *,
    mask: np.ndarray | None = None,
    parameters: Mapping[str, Any] | None = None,
    layout: str = "",
    mode: str = "eager",
    run: Callable[..., tuple[np.ndarray, Any]] | None = None,
) -> None:
    """The layer called `name`. `run` (cotangent, maps) is what to check in place of the driver's.

    A layer of its own name is entered in the table of worst ratios.
    """
    __tracebackhide__ = True
    locations = math.prod(maps[0].shape[1:-1])
    flat = tuple(m.reshape(m.shape[0], locations, m.shape[-1]) for m in maps)
    options = dict(parameters or {})
    if mask is not None:
        options["mask"] = mask.reshape(mask.shape[0], locations)
    case, op, dtype = Case(flat, options), LAYERS[name], maps[0].dtype.name
    expected = truth(op, case, tf32=driver.tf32)
    cotangent = np.random.default_rng(4).standard_normal(expected.value.shape)
    cotangent = cotangent.astype(maps[0].dtype)
    if run is not None:
        result, gradients = run(cotangent, maps)
    else:
        given = {"mask": mask, "parameters": parameters, "layout": layout, "mode": mode}
        result, gradients = driver.layer_and_gradients(name, cotangent, maps, **given)
    what = f"{name} on {driver.name} ({dtype}, {layout}, {mode})"
    subject = Subject(name, driver.name, dtype, "forward")
    assert_within(result, expected, dtype, what, subject)
    bounds = vjp_truth(op, case, cotangent, tf32=driver.tf32)
    subject = subject._replace(direction="gradient")
    for g, m, bounded in zip(gradients, maps, bounds, strict=True):
        assert g.shape == m.shape, f"{what}: a gradient of shape {g.shape} for {m.shape}"
        flat_g = g.reshape(bounded.value.shape)
        assert_within(flat_g, bounded, dtype, f"{what}, gradient", subject)
