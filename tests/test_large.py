"""Shapes beyond the small draws: several pieces of work, and blocks that do not divide evenly."""

import importlib

import numpy as np
import pytest

from bilinear.testing import OPS, Case, check_against_reference
from bilinear.testing.cases import seeded

from .subjects import PRESENT, certified


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("channels", "half"),
    [((300,), False), ((300,), True), ((300, 40), False)],
    ids=["one stream", "half", "two streams"],
)
def test_bilinear_pool_of_many_channels(
    channels: tuple[int, ...],
    half: bool,
    dtype: str,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fused = importlib.import_module(f"bilinear.backends.{backend}._fused")
    monkeypatch.setattr(fused, "CHUNK", 2**20, raising=False)  # where work is done in pieces
    arrays = tuple(seeded(dtype, 7, 5, c, seed=c) for c in channels)
    keep = np.random.default_rng(0).random((7, 5)) < 0.6
    for options in ({"half": half}, {"half": half, "mask": keep}):
        case = Case(arrays, options)
        cotangent = seeded(dtype, *OPS["bilinear_pool"].output_shape(case), seed=2)
        check_against_reference(certified(backend), "bilinear_pool", case, cotangent)
