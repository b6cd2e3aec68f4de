"""Shapes beyond the small draws: several pieces of work, and blocks that do not divide evenly."""

import importlib

import numpy as np
import pytest

from bilinear.testing import OPS, Case, check_against_reference
from bilinear.testing.cases import seeded

from ..subjects import PRESENT, certified


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
    if backend == "torch":  # the one that works in chunks of samples
        fused = importlib.import_module("bilinear.backends.torch._fused")
        monkeypatch.setattr(fused, "CHUNK", 2**20)
    arrays = tuple(seeded(dtype, 7, 5, c, seed=c) for c in channels)
    keep = np.random.default_rng(0).random((7, 5)) < 0.6
    for options in ({"packed": packed}, {"packed": packed, "mask": keep}):
        case = Case(arrays, options)
        cotangent = seeded(dtype, *OPS["bilinear_pool"].output_shape(case), seed=2)
        check_against_reference(certified(backend), "bilinear_pool", case, cotangent)
