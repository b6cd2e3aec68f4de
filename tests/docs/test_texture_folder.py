"""The textures that every command is proved on: the list, the pixels, the folder."""
# ruff: noqa: E402 (what is absent is found before anything needs it)

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

missing = [name for name in ("skimage", "examples") if importlib.util.find_spec(name) is None]
if missing:
    pytest.skip(f"the textures need {', '.join(missing)}", allow_module_level=True)

from bilinear.data import open_dataset
from bilinear.data.index import Split
from examples import texture_folder as made
from examples.textures import radius

from ..brightness import accuracies, guessing, moments

PARTS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
APART = 8
"""Pixels of the unscaled photograph between the parts, at least."""


def test_the_list_is_what_was_drawn() -> None:
    crops = made.listed()
    assert crops == list(made.drawn())
    counts = Counter((crop.part, crop.name) for crop in crops)
    assert counts == {(p, name): n for p, n in made.COUNTS.items() for name in made.CLASSES}
    assert len({crop.path for crop in crops}) == len(crops)


@pytest.mark.parametrize("name", sorted({photo for photo, _ in made.CLASSES.values()}))
def test_no_crop_is_near_a_pixel_of_another_part(name: str) -> None:
    """By the circles around the crops, in the photograph itself: near and far classes share it."""
    height, width = made.photograph(name, 1.0).shape
    down, across = np.ogrid[:height, :width]
    seen = {part: np.zeros((height, width), bool) for part in PARTS}
    near = {part: np.zeros((height, width), bool) for part in PARTS}
    for crop in made.listed():
        if crop.photograph == name:
            row, column = ((x + 0.5) / crop.scale - 0.5 for x in (crop.row, crop.column))
            size = radius(made.SIZE) / crop.scale
            assert min(row, column, height - 1 - row, width - 1 - column) >= size - 1
            away = np.hypot(down - row, across - column)
            seen[crop.part] |= away <= size
            near[crop.part] |= away <= size + APART
    for part in PARTS:
        others = [seen[other] for other in PARTS if other != part]
        assert not (near[part] & np.any(others, axis=0)).any()


def test_the_folder_is_a_data_set_of_the_published_pixels(tmp_path: Path) -> None:
    assert made.write(tmp_path) == made.CHECKSUM
    index = open_dataset(tmp_path)
    assert index.classes == tuple(sorted(made.CLASSES))
    for part, count in made.COUNTS.items():
        items = index.part(PARTS[part])
        assert Counter(item.label for item in items) == dict.fromkeys(range(8), count)


def test_brightness_and_contrast_say_nothing() -> None:
    crops = {part: [c for c in made.listed() if c.part == part] for part in ("train", "test")}
    found = {part: moments(np.stack([*map(made.pixels, crops[part])])) for part in crops}
    names = sorted(made.CLASSES)
    labels = {part: np.array([names.index(c.name) for c in crops[part]]) for part in crops}
    for part, listed in crops.items():
        asked = np.array([(crop.mean, crop.deviation) for crop in listed])
        assert np.abs(found[part] - asked).max() < 0.005
    right = accuracies(found["train"], labels["train"], found["test"], labels["test"])
    assert max(right) < guessing(len(names), len(labels["test"]))
