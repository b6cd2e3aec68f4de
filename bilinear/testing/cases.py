"""Random and fixed cases shared by the operators: values inside the valid range and at its ends."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .bounds import Bounded, exact

DTYPES = {
    "float64": np.dtype("float64"),
    "float32": np.dtype("float32"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype("float16"),
}
"""Name -> dtype of NumPy, of every dtype that is tested."""


@dataclass(frozen=True)
class Case:
    """The arguments of one call of an operator: its arrays, and its options (including a mask)."""

    arrays: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def bounded(self) -> list[Bounded]:
        """Return the arrays in extended precision; those without an error bound are exact."""
        wide = (a if isinstance(a, Bounded) else a.astype(np.longdouble) for a in self.arrays)
        return [a if isinstance(a, Bounded) else exact(a) for a in wide]

    def upcast(self) -> tuple[np.ndarray, ...]:
        return tuple(a.astype(np.longdouble) for a in self.arrays)

    def double(self) -> tuple[np.ndarray, ...]:
        return tuple(a.astype(np.float64) for a in self.arrays)


Maps = tuple[np.ndarray, ...]
"""Feature maps (N, *spatial, C), one per stream."""

REDUCTIONS = st.sampled_from(["mean", "sum"])

VALID = np.array([[True, False, True, True], [False] * 4])
"""The mask of singular points."""

SMOOTH_VALID = np.array([[True, False, True], [True] * 3])
"""The mask of smooth cases."""


def magnitudes(dtype: str) -> st.SearchStrategy[float]:
    """Draw zeros of both signs, and values whose products are normal float32 values."""
    width = {"float64": 64, "float32": 32}.get(dtype, 16)
    size = st.floats(2.0**-10, 4.0, width=width)  # type: ignore[arg-type]
    return st.one_of(st.sampled_from([0.0, -0.0, 1.0]), size, size.map(lambda v: -v))


@st.composite
def features(draw, dtype: str, shape: tuple[int, ...], *, dead: bool = True) -> np.ndarray:
    """Draw values of one scale, with zero channels or not, in plain or transposed memory."""
    x = draw(hnp.arrays(np.float64, shape, elements=magnitudes(dtype)))
    x = x * 2.0 ** draw(st.sampled_from([0, -5, 5] if "16" in dtype else [0, -20, 20]))
    if dead and x.ndim and draw(st.booleans()):
        x[..., :1] = 0.0
    if draw(st.booleans()) and x.ndim == 3:
        x = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    return np.asarray(x).astype(DTYPES[dtype], order="K")


def cotangents(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    values = hnp.arrays(np.float64, shape, elements=magnitudes(dtype))
    return values.map(lambda a: a.astype(DTYPES[dtype]))


@st.composite
def options_and_mask(draw, shape: tuple[int, ...], **values: st.SearchStrategy) -> dict[str, Any]:
    """Draw options, and a mask of this shape or none."""
    options = {name: draw(strategy) for name, strategy in values.items()}
    if draw(st.booleans()):
        options["mask"] = draw(hnp.arrays(np.bool_, shape))
    return options


@st.composite
def pooling_cases(draw, dtype: str, extra: dict[str, st.SearchStrategy] | None = None) -> Case:
    """Draw one or two streams and a mask or none. Few sizes, so that compilers meet few shapes."""
    n = draw(st.sampled_from([1, 2, 0]))
    locations = draw(st.sampled_from([1, 2, 5]))
    channels = draw(st.sampled_from([1, 3]))
    arrays = [draw(features(dtype, (n, locations, channels)))]
    if draw(st.booleans()):
        arrays.append(draw(features(dtype, (n, locations, draw(st.sampled_from([3, 2]))))))
    options = draw(options_and_mask((n, locations), reduction=REDUCTIONS))
    options |= {name: draw(values) for name, values in (extra or {}).items()}
    return Case(tuple(arrays), options)


def normal(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Return values of the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def with_nan(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of `x` (2, 4, C) with NaN behind the mask `VALID`, and with one NaN."""
    hidden, nan = x.copy(), x.copy()
    hidden[~VALID] = nan[0, 1, 2] = np.nan
    return hidden, nan


def pooling_edges(dtype: str) -> dict[str, Case]:
    """Return the singular points of pooling operators, which random cases may miss."""
    x, y = normal(dtype, 2, 4, 3), normal(dtype, 2, 4, 2, seed=1)
    hidden, nan = with_nan(x)
    return {
        "mean of three": Case((x[:, :3],)),
        "non-square": Case((x, y)),
        "all zero": Case((np.zeros_like(x),)),
        "NaN behind the mask": Case((hidden,), {"mask": VALID}),
        "NaN behind the mask of two": Case((hidden, y), {"mask": VALID, "reduction": "sum"}),
        "no valid location": Case((x,), {"mask": np.zeros((2, 4), bool)}),
        "NaN reaches": Case((nan,)),
        "empty batch": Case((x[:0], y[:0])),
        "single location": Case((x[:, :1], y[:, :1])),
    }


def pooling_smooth(dtype: str) -> list[Case]:
    """Return cases at which all derivatives exist: |G| stays above 1/4."""
    x, y = (away_from_zero(dtype, 2, 3, size, seed=size) for size in (4, 2))
    return [
        Case((np.abs(x),)),
        Case((np.abs(x), np.abs(y)), {"mask": SMOOTH_VALID}),
        Case((np.abs(x), -np.abs(y)), {"mask": SMOOTH_VALID, "reduction": "sum"}),
    ]


def away_from_zero(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Return values of both signs with a magnitude of at least 1/2."""
    x = normal("float64", *shape, seed=seed)
    return (x + np.copysign(0.5, x)).astype(DTYPES[dtype])


def layer_calls(dtype: str, streams: tuple[int, ...] = (1, 2)) -> dict[str, tuple[Maps, dict]]:
    """Return channels-last feature maps and arguments: one or two streams, masks, every rank."""
    x, y = normal(dtype, 2, 3, 4, 5), normal(dtype, 2, 3, 4, 2, seed=1)
    keep = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    poisoned = np.where(keep[..., None], x, np.asarray(np.nan, x.dtype))
    given: dict[str, tuple[Maps, dict]] = {
        "one stream": ((x,), {}),
        "two streams": ((x, y), {}),
        "masked": ((poisoned,), {"mask": keep}),
        "two streams, masked": ((poisoned, y), {"mask": keep}),
        "empty batch": ((x[:0],), {}),
        "empty batch, masked": ((x[:0],), {"mask": keep[:0]}),
    }
    for spatial in ((), (6,), (2, 3, 2), (1, 1)):
        pair = normal(dtype, 2, *spatial, 3), normal(dtype, 2, *spatial, 2, seed=1)
        given[f"{len(spatial)} spatial axes of {math.prod(spatial)}"] = (pair[: max(streams)], {})
    return {label: call for label, call in given.items() if len(call[0]) in streams}


def to_locations(
    maps: Maps, mask: np.ndarray | None, parameters: Mapping[str, Any]
) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
    """Return the locations of feature maps, and the parameters with their mask."""
    locations = math.prod(maps[0].shape[1:-1])
    flat = tuple(m.reshape(m.shape[0], locations, m.shape[-1]) for m in maps)
    masked = {} if mask is None else {"mask": mask.reshape(mask.shape[0], locations)}
    return flat, {**parameters, **masked}
