"""The pictures of the gallery: small files, and the confusion matrix of a report."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("examples")

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from examples import confusion_matrix

ROOT = Path(__file__).parents[2]
COUNTS = np.array([[3, 0], [1, 2]])


def test_the_confusion_matrix_has_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = Figure().subplots()
    confusion_matrix.draw(axis, COUNTS, ["finch", "wren"])
    cells = {(text.get_position(), text.get_text()) for text in axis.texts}
    assert cells == {((0, 0), "3"), ((0, 1), "1"), ((1, 1), "2")}  # (predicted, true), without 0
    np.testing.assert_allclose(axis.images[0].get_array(), [[1, 0], [1 / 3, 2 / 3]])
    source, target = tmp_path / "confusion.csv", tmp_path / "confusion.png"
    source.write_text("true \\ predicted,finch,wren\nfinch,3,0\nwren,1,2\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["confusion_matrix", str(source), str(target)])
    confusion_matrix.main()
    with Image.open(target) as picture:
        assert picture.size == (600, 500)


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs" / "_static" / "gallery").glob("*")]
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert all(f"(_static/gallery/{picture.name})" in text for picture in pictures)
    assert all(picture.stat().st_size < 100_000 for picture in pictures)
