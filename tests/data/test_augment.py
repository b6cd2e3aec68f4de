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


def test_the_center_is_taken_if_no_rectangle_fits():
    rng = np.random.default_rng(0)
    view = augment.random_resized_crop(ramp(4, 200), (4, 8), rng, (0.9, 1.0), (1.0, 2.0))
    assert corners(view) == (0, 96, 3, 103)


def test_center_crops():
    """The center of the resized image. With square=True it contains the whole image."""

    def view(**options):
        augmentation, rng = Augmentation("center", flip=False, **options), np.random.default_rng(0)
        image = augment.augment(ramp(40, 80), Preprocessing(40), augmentation, rng, "a.png")
        assert image.size == (40, 40)
        return corners(image)

    assert view() == (0, 20, 39, 59)
    top, left, bottom, right = view(resize=60)  # two thirds of the height
    assert (bottom - top, right - left) == (26, 26)
    _, left, _, right = view(resize=40, square=True)
    assert left < 2
    assert right > 77


SIDE = 32
MEAN = Preprocessing(SIDE, mean=(0.2, 0.4, 0.6))
FILL = (51, 102, 153)


def views(pixels, count=200, **options):
    """Versions of an image of SIDE × SIDE pixels, as float64."""
    rng, image = np.random.default_rng(0), Image.fromarray(pixels.astype(np.uint8))
    augmentation = Augmentation("center", flip=False, **options)
    made = [augment.augment(image, MEAN, augmentation, rng, "a.png") for _ in range(count)]
    return np.array([np.asarray(view) for view in made], np.float64)


def plain(red, green, blue):
    return np.full((SIDE, SIDE, 3), (red, green, blue))


def test_rotations_have_uniform_angles_and_corners_of_the_mean():
    """The right half is white: the angle follows from its center of mass."""
    pixels = plain(0, 0, 0)
    pixels[:, SIDE // 2 :] = 255
    found = views(pixels, rotation=30)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    inside = x**2 + y**2 <= (SIDE / 2 - 1) ** 2
    weights = np.where(inside, found[..., 0], 0)
    angles = np.degrees(np.arctan2(-(weights * y).sum((1, 2)), (weights * x).sum((1, 2))))
    assert -30.5 < angles.min() < -28
    assert 28 < angles.max() < 30.5
    assert abs(angles.std() - 30 / 3**0.5) < 2
    assert tuple(found[np.abs(angles).argmax()][0, 0]) == FILL


def test_brightness_is_a_factor():
    found = views(plain(100, 50, 20), brightness=0.5)[:, 0, 0] / (100, 50, 20)
    assert found[:, 0].min() == pytest.approx(0.5, abs=0.03)
    assert found[:, 0].max() == pytest.approx(1.5, abs=0.03)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=0.05)


def test_contrast_is_a_factor_on_the_distance_from_the_mean_brightness():
    pixels = plain(60, 60, 60)
    pixels[: SIDE // 2] = 140
    found = views(pixels, contrast=0.5)
    np.testing.assert_allclose(found.mean((1, 2, 3)), 100, atol=1)
    spread = (found[:, 0, 0, 0] - found[:, -1, 0, 0]) / 80
    assert spread.min() == pytest.approx(0.5, abs=0.03)
    assert spread.max() == pytest.approx(1.5, abs=0.03)


def test_saturation_is_a_factor_on_the_distance_from_gray():
    """ITU-R 601: 0.299 · 160 + 0.587 · 100 + 0.114 · 80 is 116."""
    found = views(plain(160, 100, 80), saturation=0.5)[:, 0, 0]
    factors = (found - 116) / (160 - 116, 100 - 116, 80 - 116)
    assert factors[:, 0].min() == pytest.approx(0.5, abs=0.03)
    assert factors[:, 0].max() == pytest.approx(1.5, abs=0.03)
    np.testing.assert_allclose(factors[:, 0], factors[:, 2], atol=0.05)


def test_hue_is_shifted_around_the_circle():
    """A third of the circle turns red into green or blue; brightness and saturation stay."""
    found = views(plain(200, 0, 0), hue=1 / 3)[:, 0, 0]
    np.testing.assert_allclose(found.max(1), 200, atol=2)
    np.testing.assert_allclose(found.min(1), 0, atol=2)
    for pure in (0, 200, 0), (0, 0, 200), (200, 0, 0):
        assert np.abs(found - pure).max(1).min() < 15
    assert views(plain(200, 0, 0), hue=0.1)[:, 0, 0, 1:].max() < 130  # at most 36 degrees


def test_erased_rectangles():
    """One rectangle of the mean, of 2 to 33 % of the area, in the stated share of images."""
    found = views(plain(0, 0, 0), 400, erasing=0.25)
    erased = (found == FILL).all(-1)
    share = erased.any((1, 2))
    assert abs(share.sum() - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5  # four standard deviations
    for one in erased[share]:
        rows, columns = one.any(1), one.any(0)
        assert one.sum() == rows.sum() * columns.sum()
        assert 0.01 < one.mean() < 0.36
    assert (found[~erased] == 0).all()


def test_strengths_of_zero_draw_no_number():
    """The crops of a seed do not depend on options that are off."""
    rng = np.random.default_rng(0)
    augment.augment(ramp(SIDE, SIDE), MEAN, Augmentation("center", flip=False), rng, "a.png")
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("name", augment.LARGEST)
def test_a_strength_makes_the_augmentation_random(name):
    assert Augmentation("center", flip=False, **{name: 0.1}).varies
    assert not Augmentation("center", flip=False).varies


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"crop": "corner"}, "crop must be one of random, center, resized"),
        ({"resize": 0}, "resize must be a positive integer"),
        ({"resize": 9.5}, "resize must be a positive integer"),
        ({"crop": "resized", "square": True}, "crop='resized' allows neither resize nor square"),
        ({"crop": "resized", "resize": 512}, "crop='resized' allows neither resize nor square"),
        ({"scale": (0.5, 1.1)}, "scale must be two numbers in ascending order, above 0 and at"),
        ({"scale": (0, 1)}, "scale must be two numbers"),
        ({"ratio": (2, 1)}, "ratio must be two numbers in ascending order, above 0;"),
        ({"ratio": 1}, "ratio must be two numbers"),
        ({"rotation": 181}, "rotation must be a number from 0 to 180; got 181"),
        ({"hue": 0.6}, "hue must be a number from 0 to 0.5"),
        ({"erasing": -0.1}, "erasing must be a number from 0 to 1"),
        ({"contrast": True}, "contrast must be a number from 0 to 1"),
        ({"brightness": float("nan")}, "brightness must be a number from 0 to 1"),
    ],
)
def test_invalid_augmentation_is_refused(fields, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Augmentation(**fields)
