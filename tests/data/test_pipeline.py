"""Batches do not depend on the number of workers or on where an epoch was resumed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bilinear.data import Augmentation, Item, Pipeline, open_dataset, seeds
from bilinear.data.images import Preprocessing, load_images

from .. import datasets

SMALL = Preprocessing(16)
COUNT, SIZE, BATCHES = 11, 3, 4


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return datasets.two_class_index(tmp_path_factory.mktemp("photographs"), COUNT)


@pytest.fixture(scope="module")
def pair(index):
    """The same pipeline without workers and with two workers."""
    options = {"batch_size": SIZE, "preprocessing": SMALL, "augmentation": Augmentation()}
    with Pipeline(index, **options) as here, Pipeline(index, workers=2, **options) as workers:
        yield here, workers


def pipeline(index, split="train", **options):
    return Pipeline(index, split, **{"batch_size": SIZE, "preprocessing": SMALL} | options)


def assert_equal(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for array, same in zip(batch, other, strict=True):
            assert array.dtype == same.dtype
            np.testing.assert_array_equal(array, same)


def images_by_index(batches):
    """Position in the index -> augmented image."""
    return {int(i): image for b in batches for i, image in zip(b.indices, b.images, strict=True)}


# --- contents of a batch ---


def test_without_augmentation_a_batch_equals_load_images(index):
    (batch,) = pipeline(index, batch_size=COUNT, shuffle=False).epoch(5)
    files = [index.root / item.path for item in index.items]
    np.testing.assert_array_equal(batch.images, load_images(files, SMALL))
    assert batch.images.dtype == np.float32
    assert batch.images.flags.c_contiguous
    assert batch.labels.dtype == batch.indices.dtype == np.int64
    assert batch.labels.tolist() == [k % 2 for k in range(COUNT)]
    assert batch.indices.tolist() == list(range(COUNT))


def test_banners_and_pixels_outside_boxes_are_cut_off(tmp_path):
    index = open_dataset(datasets.aircraft(tmp_path), check_counts=False)
    view = {"preprocessing": Preprocessing((40, 60), mean=(0, 0, 0), std=(1, 1, 1))}
    for split in ("train", "validation", "test"):
        (batch,) = pipeline(index, split, **view).epoch(0)
        assert batch.images.max() < 0.95  # the banner is white
        assert {index.items[i].split for i in batch.indices} == {split}
    plain = replace(index, items=tuple(Item(*item[:3]) for item in index.items))
    (whole,) = pipeline(plain, **view).epoch(0)
    assert (whole.images > 0.95).any()

    boxed = open_dataset(tmp_path, check_counts=False, boxes=True)
    view["preprocessing"] = Preprocessing((30, 40))
    (batch,) = pipeline(boxed, shuffle=False, **view).epoch(0)
    with Image.open(boxed.root / boxed.items[0].path) as image:
        image.crop((10, 5, 50, 35)).save(tmp_path / "cut.png")
    expected = load_images([tmp_path / "cut.png"], view["preprocessing"])
    np.testing.assert_array_equal(batch.images[:1], expected)


def test_gray_images(index):
    """The luma of an augmented image: augmentation itself is in color."""
    gray = Preprocessing(16, mean=(0.5,), std=(0.25,))
    options = {"augmentation": Augmentation(rotation=20.0, erasing=0.5), "seed": 3}
    (color, *_), (found, *_) = (
        list(pipeline(index, preprocessing=p, **options).epoch(0))
        for p in (Preprocessing(16, mean=(0.5,) * 3, std=(0.25,) * 3), gray)
    )
    assert found.images.shape == (*color.images.shape[:3], 1)
    luma = color.images @ np.float32([[0.299], [0.587], [0.114]])
    assert np.abs(found.images - luma).max() <= 4 / 255 * 0.51  # half a step, and std
    with pytest.raises(ValueError, match="Pipeline: image files are read as 3 channels or 1; got"):
        pipeline(index, preprocessing=Preprocessing(16, mean=(0.5,) * 4, std=(1,) * 4))


def test_a_box_outside_the_image_is_refused(index):
    items = (index.items[0]._replace(box=(500, 0, 600, 40)),)
    with pytest.raises(ValueError, match=r"0\.jpg must contain its box.*got 50 × 60, box \(500, "):
        list(pipeline(replace(index, items=items)).epoch(0))


def test_drop_last(index):
    assert pipeline(index).batches_per_epoch == BATCHES
    assert [len(b.labels) for b in pipeline(index).epoch(0)] == [3, 3, 3, 2]
    dropped = pipeline(index, drop_last=True)
    assert dropped.batches_per_epoch == BATCHES - 1
    assert_equal(dropped.epoch(0), list(pipeline(index).epoch(0))[:-1])


# --- order, augmentation and resuming ---


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_at_any_batch_gives_identical_batches(pair, workers):
    """Compared with the whole epoch in this process."""
    for epoch in (0, 3):
        whole = list(pair[0].epoch(epoch))
        for start in range(BATCHES + 1):
            assert_equal(pair[workers].epoch(epoch, start=start), whole[start:])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_parts_of_several_processes_are_the_batches_of_one(index, count, pair):
    """The last batch has two images, so that parts are empty."""
    options = {"augmentation": Augmentation()}
    parts = [pipeline(index, part=(k, count), **options) for k in range(count)]
    for start in (0, 2):
        divided = [one.epoch(1, start=start) for one in parts]
        whole = [
            type(batches[0])(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))
            for batches in zip(*divided, strict=True)
        ]
        assert_equal(whole, pair[0].epoch(1, start=start))


def test_an_abandoned_epoch_does_not_affect_the_next(pair):
    first = next(iter(pair[1].epoch(1)))
    assert_equal([first], itertools.islice(pair[0].epoch(1), 1))
    two = zip(pair[1].epoch(2), pair[1].epoch(3), strict=True)  # two at a time
    expected = zip(pair[0].epoch(2), pair[0].epoch(3), strict=True)
    for found, same in zip(two, expected, strict=True):
        assert_equal(found, same)


def test_epochs_and_seeds_differ_in_order_and_augmentation(index):
    augmented = {"augmentation": Augmentation(), "batch_size": COUNT}
    runs = [(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    found = [next(pipeline(index, seed=s, **augmented).epoch(e)) for s, e in runs]
    assert len({tuple(b.indices) for b in found}) == 4
    assert all(sorted(b.indices) == list(range(COUNT)) for b in found)
    for one, other in itertools.combinations([images_by_index([b]) for b in found], 2):
        assert any((one[i] != other[i]).any() for i in range(COUNT))
    again = next(pipeline(index, seed=1, **augmented).epoch(1))
    assert_equal([again], [found[-1]])


def test_augmentation_depends_on_seed_epoch_and_image_only(index):
    """It does not depend on the order, the batch size or the other images."""
    augmented = {"augmentation": Augmentation(), "seed": 5}
    expected = images_by_index(pipeline(index, **augmented).epoch(2))
    other = pipeline(index, shuffle=False, batch_size=2, **augmented).epoch(2)
    items = [item._replace(split="test") for item in index.items]
    items[4] = index.items[4]
    alone = pipeline(replace(index, items=tuple(items)), **augmented).epoch(2)
    for i, image in (images_by_index(other) | images_by_index(alone)).items():
        np.testing.assert_array_equal(image, expected[i])


def test_only_the_training_split_is_shuffled_by_default(index):
    def order(split, shuffle):
        items = tuple(item._replace(split=split) for item in index.items)
        changed = replace(index, items=items)
        batches = pipeline(changed, split, shuffle=shuffle, batch_size=COUNT)
        return next(batches.epoch(0)).indices.tolist()

    given = list(range(COUNT))
    assert order("train", None) != given
    assert order("train", False) == order("test", None) == order("validation", None) == given
    assert order("test", True) == order("train", None)


def test_each_purpose_and_key_has_its_own_generator():
    keys = [(s, p, *rest) for s in (0, 1) for p in range(3) for rest in ((0,), (1,), (0, 0))]
    keys += [(2**32, seeds.ORDER, 0), (2**32 + 1, seeds.ORDER, 0)]
    draws = {seeds.generator(*key).random() for key in keys}
    assert len(draws) == len(keys)


# --- invalid arguments ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"prefetch": 0}, "prefetch must be a positive integer"),
        ({"workers": -1}, "workers must be a non-negative integer; got -1"),
        ({"workers": None}, "workers must be a non-negative integer"),
        ({"seed": -1}, "seed must be a non-negative integer"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip'"),
        ({"augmentation": Augmentation(resize=15)}, "resize must be at least size"),
        ({"batch_size": 12, "drop_last": True}, "train split must have at least one full batch"),
        ({"split": "test"}, "the test split must have at least one image; got 0 images"),
        ({"part": (2, 2)}, r"part must be \(k, n\) with 0 ≤ k < n; got \(2, 2\)"),
        ({"split": "val"}, "split must be one of train, validation, test"),
    ],
)
def test_invalid_arguments_are_refused(index, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        pipeline(index, **options)


def test_invalid_epochs_and_starts_are_refused(index):
    with pipeline(index) as opened:
        for bad in ({"start": BATCHES + 1}, {"start": -1}, {"epoch": -1}, {"epoch": 0.5}):
            (name,) = bad
            with pytest.raises(ValueError, match=f"{name} must be an integer from 0 to"):
                opened.epoch(**{"epoch": 0} | bad)
        assert list(opened.epoch(0, start=BATCHES)) == []
    with pytest.raises(ValueError, match="the pipeline must be open"):
        opened.epoch(0)


# --- unreadable images ---


@pytest.fixture
def damaged(tmp_path):
    """The second batch has a truncated file; a file of the third batch is missing."""
    index = datasets.two_class_index(tmp_path, 9)
    whole = (tmp_path / "4.jpg").read_bytes()
    (tmp_path / "4.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "6.jpg").unlink()
    return index


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_an_error_or_skipped(damaged, workers):
    with pipeline(damaged, shuffle=False, workers=workers) as opened:
        batches = opened.epoch(0)
        assert next(batches).indices.tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match=r"4\.jpg must be a complete image file"):
            next(batches)
        with pytest.raises(FileNotFoundError, match=r"6\.jpg"):
            next(opened.epoch(0, start=2))
        assert next(opened.epoch(0)).indices.tolist() == [0, 1, 2]  # it is still open
        assert opened.skipped == {}
    with pipeline(damaged, shuffle=False, workers=workers, on_error="skip") as opened:
        batches = list(opened.epoch(0))
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2], [3, 5], [7, 8]]
    assert [b.labels.tolist() for b in batches] == [[0, 1, 0], [1, 1], [1, 0]]
    assert [len(b.images) for b in batches] == [3, 2, 2]
    assert list(opened.skipped) == ["4.jpg", "6.jpg"]
    assert "must be a complete image file" in opened.skipped["4.jpg"]


def test_a_batch_without_readable_images_is_an_error(damaged):
    opened = pipeline(damaged, batch_size=1, shuffle=False, on_error="skip")
    with pytest.raises(ValueError, match=r"image that can be read; got none; last error: .*4\.jpg"):
        list(opened.epoch(0, start=4))
