"""WebDataset shards give the batches of the image folder with the same images, bit for bit."""

import io
import os
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilinear.data import Augmentation, Index, Pipeline, archives, open_dataset, validation_split
from bilinear.data.images import Preprocessing, load_image
from bilinear.train.checksums import ImageFiles
from bilinear.train.feature_cache.keys import images_key

from .. import datasets
from .test_pipeline import assert_equal

REAL = Path(__file__).parent / "webdataset_1_0_2"
"""Two training shards and a test shard, which the `ShardWriter` of webdataset 1.0.2 wrote."""
OPTIONS: Any = {"batch_size": 3, "preprocessing": Preprocessing(16)}
LONG = "a-name-that-no-header-of-ustar-holds-" * 5


@pytest.fixture
def folder(tmp_path: Path) -> Index:
    """An image folder with a training and a test split."""
    datasets.photographs(tmp_path / "photos" / "train", finch=4, wren=3)
    datasets.photographs(tmp_path / "photos" / "test", finch=1, wren=1)
    index = open_dataset(tmp_path / "photos")
    return replace(index, items=tuple(sorted(index.items, key=lambda item: item.split)))


@pytest.fixture
def shards(tmp_path: Path, folder: Index) -> Index:
    return open_dataset(datasets.shards(tmp_path / "shards", folder, 3))


FORMS = {
    "ustar": (tarfile.USTAR_FORMAT, ""),
    "below a dot": (tarfile.USTAR_FORMAT, "./"),
    "gnu": (tarfile.GNU_FORMAT, f"{LONG}/"),
    "pax": (tarfile.PAX_FORMAT, f"Zaunkönig-{LONG}/"),
}


@pytest.mark.parametrize("form", FORMS)
def test_shards_give_the_batches_of_the_image_folder(tmp_path, folder, form):
    """With augmentation, from the middle of an epoch too, and divided between two processes."""
    found = open_dataset(datasets.shards(tmp_path / "shards", folder, 3, *FORMS[form]))
    assert found.classes == folder.classes
    assert [item[1:5] for item in found.items] == [item[1:5] for item in folder.items]
    for split, options in ("train", {"augmentation": Augmentation()}), ("test", {}):
        for part in (0, 1), (0, 2), (1, 2):
            ours, theirs = (
                Pipeline(index, split, part=part, **OPTIONS, **options) for index in (found, folder)
            )
            for start in range(ours.batches_per_epoch):
                assert_equal(ours.epoch(1, start), theirs.epoch(1, start))


def test_shards_in_worker_processes(shards, folder):
    with Pipeline(shards, workers=1, **OPTIONS) as ours:
        assert_equal(ours.epoch(0), Pipeline(folder, **OPTIONS).epoch(0))


def test_shards_of_the_library_webdataset(tmp_path):
    index = open_dataset(REAL)
    assert index.classes == ("0", "1")
    assert [(item.path, item.label, item.split) for item in index.items] == [
        ("birds-test-000000.tar/000000.jpg", 0, "test"),
        ("birds-train-000000.tar/000000.jpg", 0, "train"),
        ("birds-train-000000.tar/000001.jpg", 1, "train"),
        ("birds-train-000001.tar/000002.jpg", 0, "train"),
    ]
    (batch,) = Pipeline(index, shuffle=False, **OPTIONS).epoch(0)
    for image, item in zip(batch.images, index.split("train"), strict=True):
        with tarfile.open(REAL / item.file) as archive:
            (member,) = [m for m in archive if f"{item.file}/{m.name}" == item.path]
            file = archive.extractfile(member)
            assert file is not None
            expected = load_image(io.BytesIO(file.read()), OPTIONS["preprocessing"])
        np.testing.assert_array_equal(image, expected)


# --- layouts ---


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        ("a b", "train train"),
        ("train/0 val/0 test/0", "test train validation"),
        ("imagenet1k-train-0000 imagenet1k-validation-00", "train validation"),
        ("x_TEST_0 x_valid_0", "test validation"),
    ],
)
def test_the_path_of_a_shard_names_its_split(tmp_path, paths, splits):
    for path in paths.split():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        datasets.archive(tmp_path / f"{path}.tar", {"0.jpg": b"", "0.cls": b"0"})
    index = open_dataset(tmp_path, check_counts=False)
    assert [item.split for item in index.items] == splits.split()


def test_the_layout_is_detected(tmp_path, folder, shards):
    """An archive beside class folders, as it was downloaded, is not a shard."""
    datasets.archive(folder.root / "photos.tar", {})
    with pytest.warns(UserWarning, match=r"1 file is not used: 1 \.tar"):
        assert open_dataset(folder.root).classes == folder.classes
    for name in "recipe.json", "metrics.jsonl", "curves.png":
        datasets.lines(shards.root / "run" / name)
    with pytest.warns(UserWarning, match="3 files are not used"):
        assert open_dataset(shards.root) == shards


def test_other_files_of_samples_are_left_out(tmp_path):
    """Those of samples without an image are counted, as in image folders."""
    files = {"0.jpg": b"", "0.cls": b"0", "0.json": b"{}", "0.mask.png": b"", "._0.jpg": b""}
    files |= {"1.heic": b"", "1.cls": b"0", "readme": b"", ".hidden/2.jpg": b""}
    datasets.archive(tmp_path / "a.tar", files)
    with pytest.warns(UserWarning, match=r"3 files are not used: 1 \.cls, 1 \.heic, 1 without a"):
        assert [item.path for item in open_dataset(tmp_path).items] == ["a.tar/0.jpg"]


# --- reading ---


@pytest.mark.parametrize("suffix", ["tif", "png", "webp", "gif", "bmp"])
def test_every_decoder_reads_a_member_as_a_file(tmp_path, suffix):
    """libtiff reads from the descriptor of a file that has one."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
    Image.fromarray(pixels).save(tmp_path / f"0.{suffix}", **options)
    file = tmp_path / f"0.{suffix}"
    files = {"1.mp4": b"x" * 70_000, file.name: file.read_bytes(), "0.cls": b"0"}
    datasets.archive(tmp_path / "a.tar", files)
    with pytest.warns(UserWarning, match="1 file is not used"):
        index = open_dataset(tmp_path, "webdataset")
    with archives.open_item(tmp_path, index.items[0]) as opened:
        found = load_image(opened, OPTIONS["preprocessing"])
    np.testing.assert_array_equal(found, load_image(file, OPTIONS["preprocessing"]))


# --- runs ---


def test_the_images_of_a_run_are_compared_one_by_one(tmp_path, shards, folder):
    """Repairing an image that the run has not read is not a change, also in a shared shard."""
    index, cache = validation_split(shards, 0.3), tmp_path / "images.cache"
    files = ImageFiles(index, Pipeline(index, **OPTIONS), cache)
    found = ImageFiles(folder, Pipeline(folder, **OPTIONS), cache)._checksums
    assert [*files._checksums.values()] == [*found.values()]
    files.write(tmp_path / "images.json")
    position = type("Position", (), {"passes": 1, "batch": 0})()
    files.check("resume", tmp_path / "images.json", position)
    changed = next(item for item in index.items if item.split == "train")
    file = shards.root / changed.file
    data = bytearray(file.read_bytes())
    assert changed.offset is not None
    data[changed.offset + 600] ^= 1
    file.write_bytes(data)
    files = ImageFiles(index, Pipeline(index, **OPTIONS), cache)
    with pytest.raises(
        ValueError, match=f"must be those of the run; got 1 changed: {changed.path}"
    ):
        files.check("resume", tmp_path / "images.json", position)


def test_the_checksum_does_not_depend_on_places_in_shards(tmp_path, folder, shards):
    again = open_dataset(datasets.shards(tmp_path / "again", folder, 3, tarfile.PAX_FORMAT))
    moved = replace(again, items=tuple(i._replace(offset=i.offset + 512) for i in again.items))
    assert shards.checksum() == again.checksum() == moved.checksum()
    before = images_key(Pipeline(shards, **OPTIONS))
    os.utime(shards.root / shards.items[-1].file, (0, 0))
    assert images_key(Pipeline(shards, **OPTIONS)) != before


def test_memory_does_not_grow_with_the_size_of_a_shard(tmp_path):
    """Beside two images, the shard has a gibibyte of other data, as a hole in the file."""
    datasets.jpeg(tmp_path / "0.jpg")
    datasets.archive(
        tmp_path / "a.tar", {"0.jpg": (tmp_path / "0.jpg").read_bytes(), "0.cls": b"0"}
    )
    data, end = (tmp_path / "a.tar").read_bytes(), bytes(1024)
    used = data.rstrip(b"\0")
    used += bytes(-len(used) % 512)
    with (tmp_path / "a.tar").open("wb") as file:
        video = tarfile.TarInfo("0.video")
        video.size = 2**30
        file.write(video.tobuf(tarfile.GNU_FORMAT))
        file.seek(2**30, os.SEEK_CUR)
        file.write(used + end)
    (tmp_path / "0.jpg").unlink()
    tracemalloc.start()
    index = open_dataset(tmp_path)
    assert index.items[0].offset == 512 + 2**30
    (batch,) = Pipeline(index, **OPTIONS).epoch(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.images.shape == (1, 16, 16, 3)
    assert peak < 2**20


@pytest.mark.full
def test_memory_does_not_grow_with_the_number_of_members(tmp_path):
    """Only what the index needs of each image stays in memory, about 1 KiB."""
    count = 5_000
    files = {f"{k:06d}.{suffix}": b"0" for k in range(count) for suffix in ("jpg", "cls", "json")}
    datasets.archive(tmp_path / "a.tar", files)
    del files
    tracemalloc.start()
    index = open_dataset(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(index.items) == count
    assert peak < 2048 * count
