"""Heat maps: the formula, the sum, the channel pairs, and drawing."""

import math
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from bilinear import reference
from bilinear.analysis.drawing import (
    AGAINST_COLOR,
    FOR_COLOR,
    STRENGTH,
    add_legend,
    overlay_heat,
    side_by_side,
)
from bilinear.analysis.heat_maps import (
    Explanation,
    Pair,
    explain,
    gradient_times_input,
    top_pairs,
)

from ..tolerances import sharing_bound

L, C, D = 6, 4, 3
FORMS = {
    "default": {},
    "sum": {"reduction": "sum"},
    "packed": {"packed": True},
    "shifted": {"root": "shifted", "eps": 1e-3},
    "unsigned": {"root": "unsigned", "eps": 1e-2},
    "no eps": {"eps": 0.0, "norm": "added"},
}


def features(seed: int, channels: int, *, signed: bool = True) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((2, L // 2, channels))
    return x if signed else np.abs(x)


def descriptor(x: np.ndarray, y: np.ndarray | None = None, **form) -> np.ndarray:
    flat = [a.reshape(1, L, a.shape[-1]) for a in (x, y) if a is not None]
    return reference.bilinear_pool(*flat, **form)[0]


def terms(x: np.ndarray, y: np.ndarray, contributions: np.ndarray) -> np.ndarray:
    """``w_cd u_cd · x_lc y_ld / Σ_l x_lc y_ld`` for each l, c, d: (L, C, D)."""
    found = np.zeros((L, x.shape[-1], y.shape[-1]))
    for c, d in np.ndindex(found.shape[1:]):
        products = x.reshape(L, -1)[:, c] * y.reshape(L, -1)[:, d]
        if products.any():
            found[:, c, d] = contributions[c, d] * products / products.sum()
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("streams", [1, 2])
def test_heat_is_the_formula_and_sums_to_the_score(form: str, streams: int) -> None:
    if form == "packed" and streams == 2:
        pytest.skip("packed descriptors have one stream")
    signed = form != "unsigned"
    x = features(1, C, signed=signed)
    y = features(2, D, signed=signed) if streams == 2 else None
    second = x if y is None else y
    u = descriptor(x, y, **FORMS[form])
    weight = np.random.default_rng(3).standard_normal(u.shape)
    found = explain(x, y, u, weight, 0.5)
    expected = np.zeros((C, second.shape[-1]))
    expected[np.triu_indices(C) if form == "packed" else np.nonzero(expected == 0)] = weight * u
    single = terms(x, second, expected)
    bound = sharing_bound(L, u.size, np.abs(single).sum())
    assert found.heat.shape == (2, L // 2)
    np.testing.assert_allclose(found.heat.ravel(), single.sum((1, 2)), rtol=0, atol=bound)
    score = math.fsum(weight * u)
    assert abs(found.heat.sum() - score) <= bound
    assert abs(found.contributions.sum() - score) <= bound
    assert found.score == 0.5 + found.contributions.sum()


def test_zero_features_have_no_heat_and_zero_channels_no_contribution() -> None:
    x = features(4, C, signed=False)
    x[0, 1] = 0
    x[..., 2] = 0
    found = explain(x, None, descriptor(x), np.ones(C * C))
    assert found.heat[0, 1] == 0
    assert not found.contributions[2].any()
    assert not found.contributions[:, 2].any()
    assert np.isfinite(found.heat).all()


def test_contributions_of_zero_entries_are_divided_equally() -> None:
    """With the unsigned root a zero entry is √eps / norm."""
    x = np.zeros((L, 2))
    x[0, 0] = 1.0
    u = descriptor(x, root="unsigned", eps=1e-2)
    weight = np.array([0.0, 0.0, 0.0, 1.0])
    heat = explain(x, None, u, weight).heat
    np.testing.assert_allclose(heat, np.full(L, u[3] / L), rtol=1e-15)
    assert u[3] > 0


def test_both_orders_of_one_stream_are_one_pair() -> None:
    x = features(5, C, signed=False)
    full = explain(x, None, descriptor(x), np.ones(C * C))
    rows, columns = np.triu_indices(C)
    packed_weight = np.where(rows == columns, 1, math.sqrt(2))
    packed = explain(x, None, descriptor(x, packed=True), packed_weight)
    assert not np.tril(full.contributions, -1).any()
    np.testing.assert_allclose(full.contributions, packed.contributions, rtol=1e-13)
    np.testing.assert_allclose(full.heat, packed.heat, rtol=1e-13)


def test_pairs_are_sorted_by_contribution() -> None:
    contributions = np.array([[1.0, 4.0, -2.0], [0.0, 4.0, 3.0]])
    found = Explanation(np.zeros(1), contributions, 1.0)
    strongest = [Pair(0, 1, 4.0, 0.4), Pair(1, 1, 4.0, 0.4), Pair(1, 2, 3.0, 0.3)]
    assert top_pairs(found, 3) == strongest
    assert top_pairs(found, 99) == [*strongest, Pair(0, 0, 1.0, 0.1)]
    assert top_pairs(found, 0) == []
    assert top_pairs(Explanation(np.zeros(1), np.array([[1.0, -1.0]]), 0.0), 1) == [
        Pair(0, 0, 1.0, None)
    ]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_low_precision_inputs_are_converted_to_float64(dtype) -> None:
    x = features(6, C).astype(dtype)
    u = descriptor(x.astype(np.float64)).astype(dtype)
    found = explain(x, None, u, np.ones(C * C, dtype))
    wide = explain(x.astype(np.float64), None, u.astype(np.float64), np.ones(C * C))
    np.testing.assert_array_equal(found.heat, wide.heat)
    assert found.heat.dtype == np.float64


def test_invalid_arguments_are_refused() -> None:
    x, y, u = features(7, C), features(8, D), np.ones(C * D)
    for words, arguments in (
        ("x and y must be .*; got x .2, 3, 4. and y .1, 3, 3.", (x, y[:1], u, u)),
        ("x and y must be", (np.zeros((0, C)), None, u, u)),
        ("have the same length; got descriptor .12,. and weight .11,.", (x, y, u, u[:-1])),
        ("must have 12 entries; got 10", (x, y, u[:10], u[:10])),
        ("must have 16 or 10 entries; got 12", (x, None, u, u)),
        ("x must be finite", (x * np.nan, y, u, u)),
        ("weight must be finite", (x, y, u, u * np.inf)),
    ):
        with pytest.raises(ValueError, match=f"^explain: .*{words}"):
            explain(*arguments)
    with pytest.raises(TypeError, match="x must have a real floating dtype; got int64"):
        explain(np.ones((2, C), np.int64), None, np.ones(C * C), np.ones(C * C))


def test_gradient_times_input_is_the_sum_over_channels_and_maps() -> None:
    maps, slopes = (features(1, C), features(2, D)), (features(3, C), features(4, D))
    heat = gradient_times_input(maps, slopes)
    expected = np.zeros((2, L // 2))
    for x, slope in zip(maps, slopes, strict=True):
        for place in np.ndindex(*expected.shape):
            expected[place] += x[place] @ slope[place]
    np.testing.assert_allclose(heat, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="maps and gradients must have equal shapes"):
        gradient_times_input(maps, slopes[::-1])


PIXELS = np.random.default_rng(9).integers(0, 256, (24, 32, 3), dtype=np.uint8)
PHOTOGRAPH = Image.fromarray(PIXELS)


def test_positive_heat_is_red_and_negative_heat_blue() -> None:
    gray = np.asarray(PHOTOGRAPH.convert("L"), np.float32)[..., None]
    for sign, color in ((2.0, FOR_COLOR), (-0.5, AGAINST_COLOR)):
        drawn = np.asarray(overlay_heat(PHOTOGRAPH, np.full((3, 4), sign)))
        expected = np.rint((1 - np.float32(STRENGTH)) * gray + np.float32(STRENGTH) * color)
        assert np.abs(drawn - expected).max() <= 1  # the order of two float32 products
    plain = np.asarray(overlay_heat(PHOTOGRAPH, np.zeros((3, 4))))
    np.testing.assert_array_equal(plain, np.repeat(gray, 3, -1))


def test_heat_is_drawn_at_its_location() -> None:
    heat = np.zeros((3, 4))
    heat[0, 3] = 1.0  # of cells of 8 × 8 pixels
    heat[2, 0] = -1.0
    drawn = np.asarray(overlay_heat(Image.new("RGB", (32, 24)), heat)).astype(int)
    redness = drawn[..., 0] - drawn[..., 2]
    assert redness[:8, 24:].min() > 0 > redness[16:, :8].max()
    assert not drawn[:8, :16].any()


def test_the_image_and_its_heat_map_are_side_by_side() -> None:
    """Enlarged to the given height, but never reduced."""
    heat = np.ones((3, 4))
    for height, size in ((56, (75, 56)), (8, (32, 24))):
        drawn, gap = side_by_side(PHOTOGRAPH, heat, height), 1
        assert drawn.size == (2 * size[0] + gap, size[1])
        image = PHOTOGRAPH.resize(size, Image.Resampling.BILINEAR)
        right = (size[0] + gap, 0, *drawn.size)
        assert drawn.crop((0, 0, *size)).tobytes() == image.tobytes()
        assert drawn.crop(right).tobytes() == overlay_heat(image, heat).tobytes()


def test_the_legend_is_below_the_image_and_wide_enough() -> None:
    drawn = add_legend(PHOTOGRAPH, ["a long name of a class", "two"])
    assert drawn.width > PHOTOGRAPH.width  # the smallest font has 8 pixels
    assert drawn.height > PHOTOGRAPH.height + 3 * 8
    assert drawn.crop((0, 0, *PHOTOGRAPH.size)).tobytes() == PHOTOGRAPH.tobytes()
    large = PHOTOGRAPH.resize((448, 448))
    assert add_legend(large, ["name"]).width == 448
    strip = np.asarray(add_legend(large, ["name"]).crop((0, 448, 448, 520)))
    assert (strip == 255).all(-1).any()
    assert (strip[..., 0].astype(int) - strip[..., 2] > 100).any()
    assert (strip[..., 2].astype(int) - strip[..., 0] > 100).any()


def test_invalid_heat_is_refused() -> None:
    for heat in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match=r"overlay_heat: heat must be a finite \(h, w\)"):
            overlay_heat(PHOTOGRAPH, heat)


def test_the_example_in_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    document = Path(__file__).parents[2] / "docs" / "explain.md"
    if not document.is_file():
        pytest.skip("the documents are elsewhere")
    (code,) = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found = names["explanation"]
    assert capsys.readouterr().out.startswith("(14, 14)")
    bound = sharing_bound(14 * 14, 64, found.contributions.sum())  # all terms are positive
    assert abs(found.heat.sum() - (found.score - 0.5)) <= bound
