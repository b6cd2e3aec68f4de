"""Feature maps in files: complete or absent, with verified checksums; needs no framework."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train.events import CacheMessage
from bilinear.train.feature_cache import files
from bilinear.train.feature_cache.cache import View
from bilinear.train.feature_cache.files import (
    LOCK,
    FeatureMaps,
    MapSet,
    MapSpec,
    check_space,
    folder_sizes,
)
from bilinear.train.locks import exclusive_lock
from bilinear.train.run import Run

from ..linear import Linear
from ..training import full_disk

SPECS = MapSpec((2, 3, 4), "float32"), MapSpec((1, 1, 2), "bfloat16")


def maps_in(folder: Path) -> MapSet:
    return MapSet(folder, SPECS, 5, {"part": "train"})


def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, *spec.shape)).astype(spec.dtype) for spec in SPECS]


def in_batches() -> Iterator[list[np.ndarray]]:
    for start in 0, 2, 4:
        yield [array[start : start + 2] for array in rows()]


def fail_on_waiting() -> None:
    pytest.fail("it waits for another writer")


def write(maps: MapSet, batches: Callable[[], Any] = in_batches, *, limit: int = 2**20) -> None:
    files.write_maps(maps, batches, limit=limit, waiting=fail_on_waiting)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(maps_in(tmp_path / "key"))
    return tmp_path / "key"


def open_maps(folder: Path) -> FeatureMaps:
    return FeatureMaps(maps_in(folder))


def test_rows_are_read_bit_by_bit(folder: Path) -> None:
    chosen = np.array([4, 0, 0])
    for found, array in zip(open_maps(folder).rows(chosen), rows(), strict=True):
        assert found.dtype == array.dtype
        assert found.tobytes() == array[chosen].tobytes()


@pytest.mark.parametrize("name", ["map-0.npy", "map-1.npy"])
def test_a_flipped_bit_is_refused_with_its_file(name: str, folder: Path) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last row
    path.write_bytes(content)
    maps = open_maps(folder)
    maps.rows(np.arange(4))
    with pytest.raises(
        ValueError, match=rf"{name} must have the checksum .*; got .* Delete .*key; the next"
    ):
        maps.rows(np.array([0, 4]))


def test_damaged_files_are_refused_by_name(folder: Path) -> None:
    note = folder / "maps.json"
    whole = note.read_bytes()
    for wrong in (
        whole[:-9],
        b"[]",
        whole.replace(b"bfloat16", b"float32"),
        whole.replace(b"train", b"test"),
        whole.replace(b'"crc32": [', b'"crc32": [[1e999],'),
        100_000 * b"[",
    ):
        note.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"maps\.json must list the feature maps"):
            open_maps(folder)
    note.write_bytes(whole)
    path = folder / "map-0.npy"
    whole = path.read_bytes()
    headers = b"<i4", b"'<f", b"{'a", b"\0\0\0", b"((("  # TokenError, KeyError, … in NumPy
    for wrong in (whole[:-1], b"", whole + b"0", *(whole.replace(b"<f4", h) for h in headers)):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"map-0\.npy must"):
            open_maps(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
@pytest.mark.parametrize("name", ["maps.json", "map-1.npy"])
def test_a_fifo_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(OSError, match=f"{name}: the path must name a regular file; got a FIFO"):
        open_maps(folder)


def test_unexpected_feature_maps_are_refused(tmp_path: Path) -> None:
    larger = (SPECS[0]._replace(shape=(2, 3, 5)), SPECS[1])
    for changes in {"count": 4}, {"count": 6}, {"specs": larger}:
        with pytest.raises(ValueError, match="maps"):
            write(maps_in(tmp_path / "key")._replace(**changes))
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def write_until_killed(folder: str) -> None:
    """Kill this process while it writes."""

    def until_killed() -> Iterator[list[np.ndarray]]:
        yield next(in_batches())
        os.kill(os.getpid(), signal.SIGKILL)

    write(maps_in(Path(folder)), until_killed)


def kill_writer(folder: Path) -> None:
    """Run `write_until_killed` in a new process."""
    code = f"from {__name__} import write_until_killed as run; run({str(folder)!r})"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert result.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_the_leftovers_of_a_killed_writer_are_ignored_and_removed(tmp_path: Path) -> None:
    """The next writer removes them and writes the set; a third one computes nothing."""
    kill_writer(tmp_path / "key")
    (left,) = tmp_path.glob("*.tmp")
    assert left.is_dir()
    assert not (tmp_path / "key").exists()
    assert [*folder_sizes(tmp_path)] == [tmp_path / "key"]  # its final name
    Run(tmp_path).remove_leftovers()  # the cache may be in the folder of a run
    foreign = [tmp_path / ".tmp123456", tmp_path / ".bilinear-own.tmp"]
    for path in foreign:
        path.mkdir()
    file = tmp_path / files.TEMPORARY.format("file")
    file.write_bytes(b"")
    one = maps_in(tmp_path / "key")
    with exclusive_lock(tmp_path / LOCK):  # another process may be writing
        check_space(tmp_path, one.bytes + 2**13, "feature maps", [one])
    assert left.exists()
    check_space(tmp_path, one.bytes + 2**13, "feature maps", [one])
    assert not left.exists()
    kill_writer(tmp_path / "key")
    write(maps_in(tmp_path / "key"))
    assert not left.exists()
    assert all(path.exists() for path in (*foreign, file))
    open_maps(tmp_path / "key").rows(np.arange(5))
    write(maps_in(tmp_path / "key"), lambda: pytest.fail("computed again"))


def test_the_limit_holds_when_feature_maps_are_written(tmp_path: Path) -> None:
    """Also where others have filled the folder since the run started."""
    size = maps_in(tmp_path / "key").bytes
    with pytest.raises(
        ValueError, match=r"must stay within .*; got feature maps of .* MiB, beside 0\.0"
    ):
        write(maps_in(tmp_path / "key"), lambda: pytest.fail("computed"), limit=size - 1)
    write(maps_in(tmp_path / "key"), limit=size)
    assert size - 100 < folder_sizes(tmp_path)[tmp_path / "key"] <= size
    with pytest.raises(ValueError, match="must stay within"):
        write(maps_in(tmp_path / "other"), lambda: pytest.fail("computed"), limit=2 * size - 100)
    write(maps_in(tmp_path / "other"), limit=2 * size)


def test_a_full_disk_is_refused_before_writing(tmp_path: Path) -> None:
    huge = maps_in(tmp_path / "none" / "key")._replace(count=2**50)
    with pytest.raises(OSError, match=r"needs .* GiB on its disk"):
        check_space(tmp_path / "none", 2**70, "maps", [huge])


def test_a_writer_waits_for_another_process_and_reports_it(tmp_path: Path) -> None:
    """It reports it once, and can be interrupted."""
    events, pauses = [], iter(range(2))
    unused: Any = None

    def pause() -> None:
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    with Run(tmp_path).lock():  # another lock in the same folder
        write(maps_in(tmp_path / "key"))
    one = View(maps_in(tmp_path / "other"), unused, 0)
    engine: Any = Linear()
    with exclusive_lock(tmp_path / LOCK), pytest.raises(KeyboardInterrupt):
        one.load(engine, 2**20, lambda event, _: events.append(event), pause)
    text = f"cache: waiting for another process that writes to {tmp_path}"
    assert events == [CacheMessage(text)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("size", [100, 200])
def test_a_disk_that_becomes_full_is_reported_with_the_file(size: int, tmp_path: Path) -> None:
    with full_disk(size), pytest.raises(OSError, match=r"map-0\.npy") as caught:
        write(maps_in(tmp_path / "key"))
    assert caught.value.errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
