"""The texture data set: its list, its pixels and its folder."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("examples")

from bilinear.data import open_dataset
from bilinear.data.index import Split
from examples import texture_folder as made
from examples.textures import radius

SPLIT_NAMES: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
APART = 8
"""Smallest distance between splits, in pixels of the unscaled photograph."""


def test_the_list_can_be_reproduced() -> None:
    crops = made.read_list()
    assert crops == list(made.draw_list())
    counts = Counter((crop.split, crop.name) for crop in crops)
    assert counts == {(p, name): n for p, n in made.COUNTS.items() for name in made.CLASSES}
    assert len({crop.path for crop in crops}) == len(crops)


@pytest.mark.parametrize("name", sorted({photo for photo, _ in made.CLASSES.values()}))
def test_no_crop_is_near_a_pixel_of_another_split(name: str) -> None:
    """Checked with the circles around the crops in the unscaled photograph."""
    height, width = made.photograph(name, 1.0).shape
    down, across = np.ogrid[:height, :width]
    seen = {part: np.zeros((height, width), bool) for part in SPLIT_NAMES}
    near = {part: np.zeros((height, width), bool) for part in SPLIT_NAMES}
    for crop in made.read_list():
        if crop.photograph == name:
            row, column = ((x + 0.5) / crop.scale - 0.5 for x in (crop.row, crop.column))
            size = radius(made.SIZE) / crop.scale
            assert min(row, column, height - 1 - row, width - 1 - column) >= size - 1
            away = np.hypot(down - row, across - column)
            seen[crop.split] |= away <= size
            near[crop.split] |= away <= size + APART
    for part in SPLIT_NAMES:
        others = [seen[other] for other in SPLIT_NAMES if other != part]
        assert not (near[part] & np.any(others, axis=0)).any()


def test_the_folder_has_the_published_pixels(tmp_path: Path) -> None:
    assert made.write(tmp_path) == made.CHECKSUM
    index = open_dataset(tmp_path)
    assert index.classes == tuple(sorted(made.CLASSES))
    for part, count in made.COUNTS.items():
        items = index.split(SPLIT_NAMES[part])
        assert Counter(item.label for item in items) == dict.fromkeys(range(8), count)


def moments(images: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of images (N, H, W) uint8, scaled to [0, 1]: (N, 2)."""
    values = images.reshape(len(images), -1) / 255
    return np.stack([values.mean(1), values.std(1)], axis=1)


def accuracies(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, expected: np.ndarray
) -> tuple[float, float]:
    """Return the test accuracies of the nearest class mean and of a linear discriminant."""
    mean, spread = train.mean(0), train.std(0)
    a, b = (train - mean) / spread, (test - mean) / spread
    centers = np.stack([a[labels == label].mean(0) for label in range(labels.max() + 1)])
    nearest = ((b[:, None] - centers) ** 2).sum(2).argmin(1)
    within = np.cov((a - centers[labels]).T)
    slopes = centers @ np.linalg.inv(within)
    linear = (b @ slopes.T - (slopes * centers).sum(1) / 2).argmax(1)
    return float((nearest == expected).mean()), float((linear == expected).mean())


def test_brightness_and_contrast_do_not_predict_the_class() -> None:
    """The bound is four standard deviations above the mean accuracy of guessing."""
    crops = {part: [c for c in made.read_list() if c.split == part] for part in ("train", "test")}
    found = {part: moments(np.stack([*map(made.pixels, crops[part])])) for part in crops}
    names = sorted(made.CLASSES)
    labels = {part: np.array([names.index(c.name) for c in crops[part]]) for part in crops}
    for part, listed in crops.items():
        asked = np.array([(crop.mean, crop.deviation) for crop in listed])
        assert np.abs(found[part] - asked).max() < 0.005
    right = accuracies(found["train"], labels["train"], found["test"], labels["test"])
    chance = 1 / len(names)
    assert max(right) < chance + 4 * np.sqrt(chance * (1 - chance) / len(labels["test"]))
