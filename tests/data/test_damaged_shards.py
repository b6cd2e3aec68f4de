"""Shards that are damaged, wrong or replaced are refused by their names."""

import gzip
import os
import random
import tarfile
from typing import Any

import pytest

from bilinear.data import Pipeline, open_dataset
from bilinear.data.images import Preprocessing

from .. import datasets
from .test_data import refused

OPTIONS: Any = {"batch_size": 3, "preprocessing": Preprocessing(16)}

# --- what is refused when a data set is opened ---

SAMPLE = {"0.jpg": b"image", "0.cls": b"0"}
REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no label": ({"0.jpg": b""}, r"a\.tar/0\.cls must have a number .*; got no such file"),
    "a name as label": (SAMPLE | {"0.cls": b"wren"}, r"0\.cls must have a number .* got b'wren'"),
    "a negative label": (SAMPLE | {"0.cls": b"-1"}, "got b'-1'"),
    "a large label": (SAMPLE | {"0.cls": b"1000000"}, "from 0 to 999,999; got b'1000000'"),
    "two images": (SAMPLE | {"0.png": b""}, r"must have one image; got a.tar/0.jpg and a.tar/0.pn"),
    "a missing class": (SAMPLE | {"0.cls": b"2"}, "images of each class; got none of 0, 1"),
    "no images": ({"0.cls": b"0"}, "got no image"),
    "outside": (
        {"../0.jpg": b"", "../0.cls": b"0"},
        r"paths must be relative .* got 'a\.tar/\.\./0",
    ),
    "absolute": ({"/etc/0.jpg": b"", "/etc/0.cls": b"0"}, r"be relative .* got 'a\.tar//etc/0"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:.* not used")
def test_wrong_samples_are_refused(tmp_path, name):
    files, words = REFUSED[name]
    datasets.archive(tmp_path / "a.tar", files)
    refused(words, tmp_path, kind="webdataset")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"finch\n", r"from 0 to 0; got 1 for a\.tar/1\.jpg"),
        (b"finch\n\nwren\n", "got an empty name"),
        (b"finch\nfinch\n", "got 'finch' twice"),
        (b"", "got an empty name"),
        (b"Kohlm\xe4use\n", r"classnames\.txt must be UTF-8 text"),
        (b"finch\nwren\nowl\n", "got none of owl"),
    ],
)
def test_wrong_names_of_classes_are_refused(tmp_path, text, words):
    datasets.archive(tmp_path / "a.tar", SAMPLE | {"1.jpg": b"", "1.cls": b"1"})
    (tmp_path / "classnames.txt").write_bytes(text)
    refused(words, tmp_path, check_counts=b"owl" in text)


@pytest.mark.parametrize("paths", ["train-0 extra-0", "training-0 testing-0", "train/test-0"])
def test_unclear_splits_are_refused(tmp_path, paths):
    for path in paths.split():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        datasets.archive(tmp_path / f"{path}.tar", SAMPLE)
    words = refused("the path of each shard in .* must name one split; got ", tmp_path)
    assert "Write it as one of train, val, valid, validation, test" in words


def header(**fields: Any) -> bytes:
    """A header of 512 bytes."""
    member = tarfile.TarInfo("0.jpg")
    for name, value in fields.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.GNU_FORMAT)


WHOLE = b"".join([header(), header(name="0.cls", size=1), b"0".ljust(512, b"\0"), bytes(1024)])
COMPLETE = r"a\.tar must be a complete, uncompressed tar archive; got "
FILES = r"a\.tar must contain files only; got 0\.jpg, a link, a sparse or a special file"
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", f"{COMPLETE}ReadError: empty file"),
    "text": (b"x" * 2048, f"{COMPLETE}ReadError"),
    "compressed": (gzip.compress(WHOLE), f"{COMPLETE}.*Decompress a compressed archive"),
    "git": (b"version https://git-lfs.github.com/spec/v1\n", f"{COMPLETE}a Git LFS pointer"),
    "cut in a header": (WHOLE[:600], f"{COMPLETE}ReadError"),
    "cut in a member": (WHOLE[:1100], f"{COMPLETE}ReadError: unexpected end of data"),
    "cut between members": (WHOLE[:1536], f"{COMPLETE}ReadError: no end of the archive"),
    "a damaged header": (WHOLE[:512] + b"y" + WHOLE[513:], f"{COMPLETE}ReadError: no end"),
    "a long name": (
        header(name="././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=2**40) + WHOLE,
        f"{COMPLETE}ReadError: a header of 1,099,511,627,776 bytes",
    ),
    "a negative size": (header(size=-512) + WHOLE, COMPLETE),
    "a link": (header(type=tarfile.SYMTYPE, linkname="/etc/passwd") + WHOLE, FILES),
    "a hard link": (header(type=tarfile.LNKTYPE, linkname="1.jpg") + WHOLE, FILES),
    "a device": (header(type=tarfile.CHRTYPE) + WHOLE, FILES),
    "twice": (header() + WHOLE, r"a\.tar must have each name once; got 0\.jpg twice"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_shards_are_refused(tmp_path, name):
    data, words = DAMAGED[name]
    (tmp_path / "a.tar").write_bytes(data)
    refused(words, tmp_path)


@pytest.mark.filterwarnings("ignore:.* not used")
def test_any_damage_to_headers_is_refused_or_has_no_effect(tmp_path):
    """Bytes change at random, under a correct checksum: no other error, and no endless loop."""
    rng = random.Random(0)
    read = 0
    for _ in range(400):
        data = bytearray(WHOLE)
        start = rng.choice([0, 512])
        for _ in range(rng.randint(1, 3)):
            field = rng.choice([(0, 6), (124, 136), (156, 158), (257, 265), (345, 355)])
            data[start + rng.randrange(*field)] = rng.choice(b"\0\x80\xff01234567LKSxg/.j")
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
        (tmp_path / "a.tar").write_bytes(data)
        try:
            index = open_dataset(tmp_path, "webdataset")
        except ValueError as error:
            assert f"{tmp_path}" in f"{error}" or "a.tar/" in f"{error}"  # noqa: PT017
        else:
            read += 1
            assert [item.label for item in index.items] == [0]
    assert 0 < read < 200


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.tar").mkdir()
    datasets.archive(tmp_path / "a.tar" / "b.tar", SAMPLE)
    refused(r"must have shards, .* got shards in a folder with this suffix", tmp_path)
    (tmp_path / "empty").mkdir()
    refused(
        r"must have shards, files with the suffix \.tar; got none",
        tmp_path / "empty",
        kind="webdataset",
    )
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "empty" / "a.tar")
        with pytest.raises(OSError, match=r"a\.tar: .* got a FIFO"):
            open_dataset(tmp_path / "empty", "webdataset")


# --- what is refused when an image is read ---


def test_a_shard_that_changes_is_refused(tmp_path):
    """An image is never read from the place of another one."""
    datasets.photographs(tmp_path / "photos" / "train", finch=2)
    datasets.photographs(tmp_path / "photos" / "test", finch=1)
    shards = open_dataset(
        datasets.shards(tmp_path / "shards", open_dataset(tmp_path / "photos"), 3)
    )
    file = shards.root / shards.items[0].file
    whole = file.read_bytes()
    batches = Pipeline(shards, "test", **OPTIONS)
    for data in (whole[:700], whole[512:], bytes(len(whole)), b"x" * len(whole), b""):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"0\.jpg must be in its archive; got other bytes"):
            next(batches.epoch(0))
    file.write_bytes(whole)
    next(batches.epoch(0))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"birds-test-000000\.tar"):
        next(batches.epoch(0))


def test_errors_of_images_name_the_shard_and_the_member(tmp_path):
    datasets.archive(tmp_path / "a.tar", {"b/0.jpg": b"no image", "b/0.cls": b"0"})
    batches = Pipeline(open_dataset(tmp_path), **OPTIONS)
    with pytest.raises(ValueError, match=r"/a\.tar/b/0\.jpg must be a complete image file"):
        next(batches.epoch(0))
    batches.on_error = "skip"
    with pytest.raises(ValueError, match="each batch must have an image"):
        next(batches.epoch(0))
    assert list(batches.skipped) == ["a.tar/b/0.jpg"]
