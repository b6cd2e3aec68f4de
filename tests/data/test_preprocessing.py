"""Preprocessing: resize, crop and normalize; validation and JSON form of `Preprocessing`."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from bilinear.data import images
from bilinear.data.images import Preprocessing, load_image, load_images
from bilinear.testing.closeness import assert_rounded

from .test_images import photograph, stored

MEAN = r"mean must be numbers from -1e\+06 to 1e\+06, one for each channel; got"
STD = r"std must be numbers from 1e-06 to 1e\+06, one for each channel; got"
RAW = Preprocessing(4, mean=(0, 0, 0), std=(1, 1, 1))


def resized(image, preprocessing):
    return images._resized_shape(image.height, image.width, preprocessing)


@pytest.mark.parametrize(
    ("height", "width", "preprocessing", "expected"),
    [
        (40, 60, Preprocessing(20), (20, 30)),
        (60, 40, Preprocessing(20), (30, 20)),
        (40, 60, Preprocessing(20, 30), (30, 45)),
        (40, 61, Preprocessing(20), (20, 30)),  # 30.5 is rounded down
        (40, 60, Preprocessing((20, 50)), (33, 50)),
        (40, 60, Preprocessing((30, 20)), (30, 45)),
        (7, 7, Preprocessing(448), (448, 448)),
        (40, 60, Preprocessing(20, square=True), (20, 20)),
        (40, 60, Preprocessing(20, 30, square=True), (30, 30)),
        (40, 60, Preprocessing((20, 50), square=True), (50, 50)),
    ],
)
def test_the_size_before_the_crop(height, width, preprocessing, expected):
    image = Image.new("RGB", (width, height))
    assert resized(image, preprocessing) == expected


def test_pixels_are_scaled_and_normalized(tmp_path):
    path = stored(Image.new("RGB", (9, 7), (255, 0, 51)), tmp_path / "a.png")
    preprocessing = Preprocessing(4, mean=(0.5, 0.25, 0), std=(0.5, 2, 0.1))
    found = load_image(path, preprocessing)
    assert found.shape == (4, 4, 3)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert_rounded(found, [1, -0.125, 2], 4)


def test_one_channel_is_the_luma(tmp_path):
    """Of every file, also of a gray one; 0.299 R + 0.587 G + 0.114 B, in whole numbers."""
    preprocessing = Preprocessing(4, mean=(0.5,), std=(0.5,))
    found = load_image(
        stored(Image.new("RGB", (9, 7), (255, 0, 51)), tmp_path / "a.png"), preprocessing
    )
    assert found.shape == (4, 4, 1)
    assert_rounded(found, (round(0.299 * 255 + 0.114 * 51) / 255 - 0.5) / 0.5, 4)
    paths = [stored(Image.new("L", (9, 7), 51), tmp_path / "b.png"), tmp_path / "a.png"]
    batch = load_images(paths, preprocessing)
    assert batch.shape == (2, 4, 4, 1)
    assert_rounded(batch[0], (51 / 255 - 0.5) / 0.5, 4)


def test_files_have_no_other_number_of_channels(tmp_path):
    """Arrays do, and `normalize` takes them."""
    preprocessing = Preprocessing(4, mean=(0.5, 0), std=(0.5, 1))
    with pytest.raises(ValueError, match="read as 3 channels or 1; got a Preprocessing of 2"):
        load_image(stored(Image.new("RGB", (9, 7)), tmp_path / "a.png"), preprocessing)
    found = images.normalize(np.full((2, 3, 3, 2), 51, np.uint8), preprocessing)
    assert_rounded(found, np.broadcast_to([-0.6, 0.2], found.shape), 4)


def test_the_crop_is_central(tmp_path):
    image = photograph(40, 60)
    preprocessing = Preprocessing((20, 30), 40, mean=(0, 0, 0), std=(1, 1, 1))
    found = load_image(stored(image, tmp_path / "a.png"), preprocessing)
    expected = np.asarray(image)[10:30, 15:45]
    np.testing.assert_array_equal(np.rint(found * 255), expected)


def test_resizing_is_antialiased():
    """A fine checkerboard becomes uniformly gray."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    file = io.BytesIO()
    Image.fromarray(board.astype(np.uint8)).save(file, "png")
    found = load_image(file, RAW)
    assert np.abs(found - 0.5).max() < 0.01


def test_a_batch_contains_the_single_images(tmp_path):
    paths = [
        stored(photograph(40, 60), tmp_path / "a.png"),
        stored(photograph(90, 50), tmp_path / "b.jpg"),
    ]
    preprocessing = Preprocessing((16, 24), 32)
    batch = load_images(iter(paths), preprocessing)
    assert batch.shape == (2, 16, 24, 3)
    assert batch.dtype == np.float32
    for found, path in zip(batch, paths, strict=True):
        np.testing.assert_array_equal(found, load_image(path, preprocessing))
    assert load_images([], preprocessing).shape == (0, 16, 24, 3)


def test_a_long_image_that_would_become_too_large_is_refused(tmp_path):
    path = stored(Image.new("L", (50_000, 1)), tmp_path / "strip.png")
    with pytest.raises(
        ValueError, match=r"strip\.png must have at most 89,478,485 pixels after resizing.*448"
    ):
        load_image(path, Preprocessing())


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing((3, 5), 7),
        Preprocessing(8, mean=[0, 0, 0], std=(1, 2, 3)),
        Preprocessing(8, 9, square=True),
        Preprocessing(8, mean=(0.5,), std=(0.25,)),
    ],
)
def test_preprocessing_survives_json(preprocessing):
    again = Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict())))
    assert again == preprocessing
    assert hash(again) == hash(preprocessing)


def test_preprocessing_accepts_numpy_values():
    found = Preprocessing(np.int64(8), np.int32(9), np.float32([0, 0, 0]), np.ones(3))
    assert found == Preprocessing(8, 9, (0, 0, 0), (1, 1, 1))
    json.dumps(found.to_dict())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": 0}, "size must be a positive integer"),
        ({"size": 4.5}, "size must be a positive integer"),
        ({"size": True}, "size must be a positive integer"),
        ({"size": (1, 2, 3)}, "size must be a positive integer"),
        ({"size": (4, -1)}, "width must be a positive integer"),
        ({"resize": -1}, "resize must be a positive integer"),
        ({"size": 8, "resize": 7}, "resize must be at least size; got resize 7 and size 8"),
        ({"size": (8, 9), "resize": 8}, "resize must be at least size"),
        ({"mean": (0, 0)}, "mean and std must have one number for each channel; got 2 and 3"),
        ({"mean": ()}, MEAN),
        ({"mean": 0.5}, MEAN),
        ({"mean": (0, 0, float("nan"))}, MEAN),
        ({"mean": (0, 0, 1e300)}, MEAN),
        ({"mean": (0, 0, -(10**400))}, MEAN),
        ({"std": (1, 1, 0)}, STD),
        ({"std": (1, 1, 1e-46)}, STD),
        ({"std": (1, 1, 10**400)}, STD),
        ({"std": (1, 1, "1")}, STD),
        ({"square": 1}, "square must be True or False; got 1"),
    ],
)
def test_invalid_preprocessing_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Preprocessing(**fields)


@pytest.mark.parametrize("data", [{}, {"size": 4}, [], Preprocessing().to_dict() | {"crop": 1}])
def test_a_dictionary_with_other_fields_is_refused(data):
    with pytest.raises(ValueError, match="the fields must be size, resize, mean, std, square"):
        Preprocessing.from_dict(data)


def test_square_is_omitted_from_the_dictionary_if_false():
    """So files without it open in versions without this field."""
    assert Preprocessing().to_dict().keys() == {"size", "resize", "mean", "std"}
