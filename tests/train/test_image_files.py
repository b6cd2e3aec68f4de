"""The checksums of the images of a run: unchanged files are not read again."""

import os
from pathlib import Path

import pytest

from bilinear.data import Item, Pipeline, open_dataset
from bilinear.data.images import Preprocessing
from bilinear.train import checksums
from bilinear.train.checksums import ImageFiles

from ..datasets import photographs

IMAGES = 6


def flipped(data: bytes) -> bytes:
    """The data with another bit in their middle."""
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


class Start:
    """A start of a run whose images are `index`; `read` has the images that were read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.index = open_dataset(photographs(folder / "images", finch=3, wren=3))
        self.cache, self.record = folder / "images.cache", folder / "images.json"
        self.pipeline = Pipeline(self.index, batch_size=2, preprocessing=Preprocessing(16))
        self.read: list[str] = []
        original = checksums.open_item

        def open_item(root: Path, item: Item):
            self.read.append(item.path)
            return original(root, item)

        monkeypatch.setattr(checksums, "open_item", open_item)

    def __call__(self) -> ImageFiles:
        self.read.clear()
        return ImageFiles(self.index, self.pipeline, self.cache)

    def check(self) -> None:
        position = type("Position", (), {"passes": 1, "batch": 0})()
        self().check("resume", self.record, position)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A run whose images are old enough that their times are recorded."""
    monkeypatch.setattr(checksums, "_RESOLUTION", 0)
    made = Start(tmp_path, monkeypatch)
    made().write(made.record)
    return made


def test_only_changed_images_are_read_again(start: Start) -> None:
    """Also one of the same size and modification time; one with new times only is unchanged."""
    assert len(start.read) == IMAGES
    start.check()
    assert start.read == []
    touched, changed = (start.index.root / "finch" / name for name in ("1.jpg", "2.jpg"))
    os.utime(touched, (0, 0))
    start.check()
    assert start.read == ["finch/1.jpg"]
    start.check()
    assert start.read == []
    before = changed.stat()
    changed.write_bytes(flipped(changed.read_bytes()))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"those of the run; got 1 changed: finch/2\.jpg"):
            start.check()


def test_exchanged_folders_are_noticed(start: Start) -> None:
    """Their files keep their times, which are equal here if the file system is coarse enough."""
    finch, wren = (start.index.root / name / "0.jpg" for name in ("finch", "wren"))
    wren.write_bytes(flipped(finch.read_bytes()))
    for _ in range(100):
        for path in finch, wren:
            os.utime(path, (0, 0))
        if finch.stat().st_ctime_ns == wren.stat().st_ctime_ns:
            break
    start().write(start.record)
    start.check()
    assert start.read == []
    finch.parent.rename(start.index.root / "swap")
    wren.parent.rename(finch.parent)
    (start.index.root / "swap").rename(wren.parent)
    with pytest.raises(ValueError, match=r"got 6 changed: finch/0\.jpg"):
        start.check()


def test_an_image_that_has_just_been_written_is_read_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change could have the same times."""
    monkeypatch.setattr(checksums, "_RESOLUTION", 10**12)
    start.cache.unlink()
    start().write(start.record)
    start.check()
    assert len(start.read) == IMAGES


@pytest.mark.parametrize("kind", ["empty", "flipped", "truncated", "foreign"])
def test_a_damaged_cache_is_ignored_and_written_again(start: Start, kind: str) -> None:
    whole = start.cache.read_bytes()
    damaged = {"empty": b"", "flipped": flipped(whole), "truncated": whole[:-1]}
    start.cache.write_bytes(damaged.get(kind, b"[]\n{}"))
    start.check()
    assert len(start.read) == IMAGES
    assert start.cache.read_bytes() == whole
