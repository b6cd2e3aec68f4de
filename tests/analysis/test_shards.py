"""Shards of descriptors: read as one array, complete or named, and never mixed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bilinear.analysis.descriptors import nearest, open_descriptors, write_descriptors
from bilinear.analysis.shards import Collection, Index, checksum_of_images, shard_of, write_index

from ..selection import FULL

ROWS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
PATHS = [f"{k}.jpg" for k in range(7)]
INDEX = Index(3, 7, 5, "0" * 64, "", checksum_of_images(PATHS, False))


def write_shard(folder: Path, shard: int, index: Index = INDEX, rows: np.ndarray = ROWS) -> None:
    write_index(folder, index)
    about = {"model": "m", "sha256": index.sha256, "classes": ("a", "b")}
    about["reduction"] = index.reduction
    paths = shard_of(PATHS, shard, index.shards)
    with write_descriptors(index.path(folder, shard), 5, **about) as writer:
        writer.append(
            shard_of(rows, shard, index.shards), paths, [k % 2 for k in range(len(paths))]
        )


@pytest.mark.parametrize("reduction", ["", "1" * 64], ids=["float32", "float16"])
def test_shards_are_read_as_one_array_in_the_order_of_the_images(
    reduction: str, tmp_path: Path
) -> None:
    """In any order of writing; a shard that is written again replaces itself."""
    index = replace(INDEX, reduction=reduction)
    for shard in (2, 0, 1, 0):
        write_shard(tmp_path, shard, index)
    rows, found = ROWS.astype(np.float16 if reduction else np.float32), Collection(tmp_path)
    assert (found.shape, len(found), found.dtype) == ((7, 5), 7, rows.dtype)
    for start in range(8):
        for stop in range(start, 9):
            np.testing.assert_array_equal(found[start:stop], rows[start:stop])
    chosen = np.array([0, 1, 4, 6])
    np.testing.assert_array_equal(found[chosen], rows[chosen])
    assert [found.image(k) for k in range(7)] == [
        (path, "ab"[k % 2])
        for shard in range(3)
        for k, path in enumerate(shard_of(PATHS, shard, 3))
    ]
    for ours, whole in zip(nearest(found, ROWS[4], 3), nearest(rows, ROWS[4], 3), strict=True):
        np.testing.assert_array_equal(ours, whole)
    before = found.checksum()
    write_shard(tmp_path, 1, index, -ROWS)
    assert Collection(tmp_path).checksum() != before


def test_a_file_is_read_as_one_array(tmp_path: Path) -> None:
    with write_descriptors(tmp_path / "f.safetensors", 5, model="m", sha256="0" * 64) as writer:
        writer.append(ROWS, PATHS, [-1] * 7)
    found = Collection(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(found[:], ROWS)
    assert found.image(3) == ("3.jpg", None)


def test_missing_and_damaged_shards_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path, 1)
    remedy = "Run bilinear descriptors with --shard 0/3"
    with pytest.raises(ValueError, match=f"all of its 3 shards; got 0/3, 2/3 missing. {remedy}"):
        Collection(tmp_path)
    write_shard(tmp_path, 0)
    write_shard(tmp_path, 2)
    path = INDEX.path(tmp_path, 2)
    content = path.read_bytes()
    for damaged in (content[:-4], content[:100], content + b"1234", b"?" + content[1:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{path.name} must be a shard of float32"):
            Collection(tmp_path)
    path.write_bytes(content)
    path.with_name(path.name + ".json").unlink()
    with pytest.raises(ValueError, match="got 2/3 missing"):
        Collection(tmp_path)
    many = replace(INDEX, shards=500, count=500)
    (tmp_path / "many").mkdir()
    write_index(tmp_path / "many", many)
    with pytest.raises(ValueError, match="9/500 missing, and 490 others"):
        Collection(tmp_path / "many")
    listed = json.loads((tmp_path / "index.json").read_text())
    for text in (
        "{}",
        "[]",
        "",
        json.dumps(listed | {"shards": "3"}),
        json.dumps(listed | {"x": 1}),
    ):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(ValueError, match=r"index\.json must be"):
            Collection(tmp_path)
    (tmp_path / "index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        Collection(tmp_path)


@pytest.mark.parametrize("name", [name for name in Index.__annotations__ if name != "shards"])
def test_shards_of_other_arguments_are_refused_and_not_read(name: str, tmp_path: Path) -> None:
    """The process that writes the index last, of two at once, may even win: its shards count."""
    value = getattr(INDEX, name)
    other = replace(INDEX, **{name: value + 1 if isinstance(value, int) else "2" * 64})
    for shard in range(3):
        write_shard(tmp_path, shard)
    with pytest.raises(ValueError, match=f"got an index with {name} "):
        write_index(tmp_path, other)
    (tmp_path / "index.json").unlink()
    write_index(tmp_path, other)
    with pytest.raises(ValueError, match="got 0/3, 1/3, 2/3 missing"):
        Collection(tmp_path)
    with pytest.raises(ValueError, match="must have an image; got 7 images for 8 shards"):
        write_index(tmp_path, replace(INDEX, shards=8))


def test_the_list_of_images_is_part_of_the_index() -> None:
    lists = [PATHS, PATHS[::-1], PATHS[:-1], [*PATHS, "\udcff.jpg"]]
    found = {checksum_of_images(paths, mirror) for paths in lists for mirror in (False, True)}
    assert len(found) == 8


REWRITE = """
import sys
from pathlib import Path
from tests.analysis.test_shards import write_shard
while True:
    write_shard(Path(sys.argv[1]), 1)
    print(flush=True)
"""


def test_a_killed_process_does_not_damage_the_other_shards(tmp_path: Path) -> None:
    """Its own shard is complete or missing, and writing it again completes the set."""
    rng = np.random.default_rng(0)
    write_shard(tmp_path, 0)
    write_shard(tmp_path, 2)
    others = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(20 if FULL else 1):
        command = [sys.executable, "-c", REWRITE, str(tmp_path)]
        root = Path(__file__).parents[2]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(rng.uniform(0, 0.01)))
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        assert {path: path.read_bytes() for path in others} == others
        if INDEX.path(tmp_path, 1).with_suffix(".npy.json").exists():
            np.testing.assert_array_equal(Collection(tmp_path)[:], ROWS)
        else:
            with pytest.raises(ValueError, match="got 1/3 missing"):
                Collection(tmp_path)
        write_shard(tmp_path, 1)
        np.testing.assert_array_equal(Collection(tmp_path)[:], ROWS)
        assert open_descriptors(INDEX.path(tmp_path, 1))[1].paths == shard_of(PATHS, 1, 3)
