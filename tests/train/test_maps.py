"""Maps in files: whole or not there, and held to their checksums; no framework is needed."""

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

from bilinear._files import locked
from bilinear.train import maps
from bilinear.train.maps import LOCK, Kind, Maps, bytes_of, size_of, taken
from bilinear.train.run import Run
from bilinear.train.sets import Part, check_fits

KINDS = [Kind((2, 3, 4), "float32"), Kind((1, 1, 2), "bfloat16")]
ABOUT = {"part": "train"}


def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, *kind.shape)).astype(kind.dtype) for kind in KINDS]


def in_batches() -> Iterator[list[np.ndarray]]:
    for start in 0, 2, 4:
        yield [array[start : start + 2] for array in rows()]


def waited() -> None:
    pytest.fail("it waits for another writer")


def write(
    folder: Path,
    batches: Callable[[], Any] = in_batches,
    *,
    kinds: list[Kind] = KINDS,
    count: int = 5,
    limit: int = 2**20,
    waiting: Callable[[], None] = waited,
) -> None:
    maps.write(folder, kinds, count, batches, ABOUT, limit=limit, waiting=waiting)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "key")
    return tmp_path / "key"


def opened(folder: Path) -> Maps:
    return Maps(folder, KINDS, 5, ABOUT)


def test_rows_come_back_bit_by_bit(folder: Path) -> None:
    chosen = np.array([4, 0, 0])
    for found, array in zip(opened(folder).rows(chosen), rows(), strict=True):
        assert found.dtype == array.dtype
        assert found.tobytes() == array[chosen].tobytes()


@pytest.mark.parametrize("name", ["map-0.npy", "map-1.npy"])
def test_a_flipped_bit_is_refused_with_its_file(name: str, folder: Path) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last row
    path.write_bytes(content)
    maps = opened(folder)
    maps.rows(np.arange(4))
    with pytest.raises(ValueError, match=rf"{name} must have the checksum .*; delete .*key, and"):
        maps.rows(np.array([0, 4]))


def test_damaged_files_are_refused_by_name(folder: Path) -> None:
    note = folder / "maps.json"
    whole = note.read_bytes()
    for wrong in (
        whole[:-9],
        b"[]",
        whole.replace(b"bfloat16", b"float32"),
        whole.replace(b"train", b"test"),
    ):
        note.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"maps\.json must list the maps"):
            opened(folder)
    note.write_bytes(whole)
    path = folder / "map-0.npy"
    for wrong in (path.read_bytes()[:-1], b"", path.read_bytes().replace(b"<f4", b"<i4")):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"map-0\.npy must"):
            opened(folder)


def test_other_maps_than_announced_are_never_kept(tmp_path: Path) -> None:
    for count, kinds in (4, KINDS), (6, KINDS), (5, [KINDS[0]._replace(shape=(2, 3, 5)), KINDS[1]]):
        with pytest.raises(ValueError, match="maps"):
            write(tmp_path / "key", kinds=kinds, count=count)
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def killed(folder: str) -> None:
    """Write, in a process of its own, until that is killed."""

    def until_killed() -> Iterator[list[np.ndarray]]:
        yield next(in_batches())
        os.kill(os.getpid(), signal.SIGKILL)

    write(Path(folder) / "key", until_killed)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    """Whoever comes next writes it whole, and sweeps; who comes then computes nothing."""
    assert child(f"killed({str(tmp_path)!r})").returncode == -signal.SIGKILL
    (left,) = tmp_path.glob("*.tmp")
    assert left.is_dir()
    assert not (tmp_path / "key").exists()
    assert [*taken(tmp_path)] == [tmp_path / "key"]  # what it is going to be
    Run(tmp_path).sweep()  # a run has its cache where it likes
    own = [tmp_path / ".tmp123456", tmp_path / ".bilinear-own.tmp"]
    for path in own:
        path.mkdir()
    file = tmp_path / maps.TEMPORARY.format("file")
    file.write_bytes(b"")
    one = part(tmp_path / "key")
    with locked(tmp_path / LOCK):  # another may be at work in it, and this is no other's
        check_fits(tmp_path, one.bytes + 2**13, "maps", [one])
    assert left.exists()
    check_fits(tmp_path, one.bytes + 2**13, "maps", [one])
    assert not left.exists()
    assert child(f"killed({str(tmp_path)!r})").returncode == -signal.SIGKILL
    write(tmp_path / "key")
    assert not left.exists()
    assert all(path.exists() for path in (*own, file))
    opened(tmp_path / "key").rows(np.arange(5))
    write(tmp_path / "key", lambda: pytest.fail("computed again"))


def part(folder: Path) -> Part:
    pipeline: Any = None  # of which nothing is asked before there is something to compute
    return Part(folder, ABOUT, pipeline, 0, tuple(KINDS), 5)


def child(call: str) -> subprocess.CompletedProcess:
    """A call of this module, in a process of its own."""
    code, root = f"from tests.train import test_maps; test_maps.{call}", Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=root, check=False)


def test_a_limit_holds_when_maps_are_written(tmp_path: Path) -> None:
    """Also against those that others have put there since a run began."""
    size = size_of(KINDS, 5, ABOUT)
    with pytest.raises(ValueError, match=r"must stay within .*; got maps of .* MiB, beside 0\.0"):
        write(tmp_path / "key", lambda: pytest.fail("computed"), limit=size - 1)
    write(tmp_path / "key", limit=size)
    assert size - 100 < bytes_of(tmp_path / "key") <= size
    with pytest.raises(ValueError, match="must stay within"):
        write(tmp_path / "other", lambda: pytest.fail("computed"), limit=2 * size - 100)
    write(tmp_path / "other", limit=2 * size)


def test_a_disk_must_have_room(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"needs .* GiB on its disk"):
        maps.check_room(tmp_path / "not there yet", 2**60)


def test_writing_waits_for_another_process_and_says_so(tmp_path: Path) -> None:
    """Once, and can be stopped meanwhile."""
    told, pauses = [], iter(range(2))
    engine: Any = None

    def pause() -> None:
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    with Run(tmp_path).locked():  # whose folder this may be
        write(tmp_path / "key")
    with locked(tmp_path / LOCK), pytest.raises(KeyboardInterrupt):
        part(tmp_path / "other").filled(engine, 2**20, lambda event, _: told.append(event), pause)
    text = f"cache: waiting for another process that fills {tmp_path}"
    assert told == [{"event": "cache", "text": text}]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("size", [100, 200])
def test_a_full_disk_is_named(size: int, tmp_path: Path) -> None:
    assert child(f"full({str(tmp_path)!r}, {size})").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def full(folder: str, size: int) -> None:
    """Writing a file beyond the size fails as on a full disk."""
    import resource  # noqa: PLC0415 (not everywhere)

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with pytest.raises(OSError, match=r"map-0\.npy") as caught:
        write(Path(folder) / "key")
    assert caught.value.errno == errno.EFBIG
