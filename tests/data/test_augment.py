"""Augmentation: positions of crops, mirroring, and invalid arguments."""

import numpy as np
import pytest
from PIL import Image

from bilinear.data import Augmentation, augment
from bilinear.data.images import Preprocessing


def ramp(height, width):
    """An image whose pixel values are the row and the column."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([y, x, 0 * x], axis=-1).astype(np.uint8))


def corners(image):
    """First row, first column, last row, last column of a crop of a ramp."""
    pixels = np.asarray(image)
    return (*pixels[0, 0, :2].tolist(), *pixels[-1, -1, :2].tolist())


def test_random_crops_reach_every_position():
    rng = np.random.default_rng(0)
    found = {corners(augment.random_crop(ramp(12, 9), (10, 8), rng)) for _ in range(200)}
    assert found == {(t, l, t + 9, l + 7) for t in range(3) for l in range(2)}  # noqa: E741


def test_half_of_the_images_are_mirrored():
    rng = np.random.default_rng(0)
    found = [corners(augment.random_flip(ramp(3, 5), rng)) for _ in range(1000)]
    assert set(found) == {(0, 0, 2, 4), (0, 4, 2, 0)}
    assert abs(found.count((0, 4, 2, 0)) - 500) < 4 * 1000**0.5 / 2  # four standard deviations


def test_resized_crops_have_the_requested_areas_and_aspect_ratios():
    rng = np.random.default_rng(0)
    scale, ratio = (0.2, 0.4), (1.0, 2.0)
    areas, aspects, positions = [], [], []
    for _ in range(300):
        view = augment.random_resized_crop(ramp(200, 240), (50, 50), rng, scale, ratio)
        assert view.size == (50, 50)
        pixels = np.asarray(view, np.float64)[..., :2]
        (top, left), (bottom, right) = pixels[0, 0], pixels[-1, -1]
        rows, columns = (bottom - top) * 50 / 49, (right - left) * 50 / 49
        areas.append(rows * columns / (200 * 240))
        aspects.append(columns / rows)
        positions.append((top, left))
    assert 0.18 < min(areas) < 0.22  # sizes are rounded to pixels
    assert 0.38 < max(areas) < 0.42
    assert 0.9 < min(aspects) < 1.1
    assert 1.7 < max(aspects) < 2.2
    assert np.std(positions, axis=0).min() > 15


def test_the_centre_is_taken_if_no_rectangle_fits():
    rng = np.random.default_rng(0)
    view = augment.random_resized_crop(ramp(4, 200), (4, 8), rng, (0.9, 1.0), (1.0, 2.0))
    assert corners(view) == (0, 96, 3, 103)


def test_centre_crops():
    """The centre of the resized image. With square=True it contains the whole image."""

    def view(**options):
        augmentation, rng = Augmentation("centre", flip=False, **options), np.random.default_rng(0)
        image = augment.augment(ramp(40, 80), Preprocessing(40), augmentation, rng, "a.png")
        assert image.size == (40, 40)
        return corners(image)

    assert view() == (0, 20, 39, 59)
    top, left, bottom, right = view(resize=60)  # two thirds of the height
    assert (bottom - top, right - left) == (26, 26)
    _, left, _, right = view(resize=40, square=True)
    assert left < 2
    assert right > 77


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"crop": "corner"}, "crop must be one of random, centre, resized"),
        ({"resize": 0}, "resize must be a positive integer"),
        ({"resize": 9.5}, "resize must be a positive integer"),
        ({"crop": "resized", "square": True}, "crop='resized' allows neither resize nor square"),
        ({"crop": "resized", "resize": 512}, "crop='resized' allows neither resize nor square"),
        ({"scale": (0.5, 1.1)}, "scale must be two numbers in ascending order, above 0 and at"),
        ({"scale": (0, 1)}, "scale must be two numbers"),
        ({"ratio": (2, 1)}, "ratio must be two numbers in ascending order, above 0;"),
        ({"ratio": 1}, "ratio must be two numbers"),
    ],
)
def test_invalid_augmentation_is_refused(fields, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Augmentation(**fields)
