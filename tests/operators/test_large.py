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
    fused = importlib.import_module(f"bilinear.backends.{backend}._fused")
    monkeypatch.setattr(fused, "CHUNK", 2**20, raising=False)  # where work is done in pieces
    arrays = tuple(seeded(dtype, 7, 5, c, seed=c) for c in channels)
    keep = np.random.default_rng(0).random((7, 5)) < 0.6
    for options in ({"packed": packed}, {"packed": packed, "mask": keep}):
        case = Case(arrays, options)
        cotangent = seeded(dtype, *OPS["bilinear_pool"].output_shape(case), seed=2)
        check_against_reference(certified(backend), "bilinear_pool", case, cotangent)


@pytest.mark.skipif("jax" not in PRESENT, reason="only its products come in pieces")
@pytest.mark.parametrize("rows", [48, 65, 96, 97])
def test_a_classifier_in_pieces_is_one_product(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its derivatives, forward and backward; exact, since all numbers are small integers."""
    jax, backbone = (importlib.import_module(n) for n in ("jax", "bilinear.models.jax.backbone"))
    monkeypatch.setattr(backbone, "LARGE", 12)
    rng = np.random.default_rng(rows)
    x, w, dx, dw, g = (
        rng.integers(-9, 10, shape).astype(np.float64)
        for shape in ((rows, 4), (4, 3), (rows, 4), (4, 3), (rows, 3))
    )
    scores = jax.jit(backbone._scored)
    pieces = scores.lower(x, w).compile().as_text().count("concatenate")
    assert (pieces > 0) == (48 < rows <= 96)
    value, tangent = jax.jvp(scores, (x, w), (dx, dw))
    np.testing.assert_array_equal(value, x @ w)
    np.testing.assert_array_equal(tangent, dx @ w + x @ dw)
    for got, wanted in zip(jax.vjp(scores, x, w)[1](g), (g @ w.T, x.T @ g), strict=True):
        np.testing.assert_array_equal(got, wanted)
    twice = jax.vmap(scores, (0, None))(np.stack([x, dx]), w)
    np.testing.assert_array_equal(twice, np.stack([x @ w, dx @ w]))
