"""Maps in files: whole or not there, and held to their checksums; no framework is needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bilinear.train.maps import Kind, Maps, write

KINDS = [Kind((2, 3, 4), "float32"), Kind((1, 1, 2), "bfloat16")]
ABOUT = {"part": "train"}


def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, *kind.shape)).astype(kind.dtype) for kind in KINDS]


def in_batches() -> Iterator[list[np.ndarray]]:
    for start in 0, 2, 4:
        yield [array[start : start + 2] for array in rows()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "key", KINDS, 5, in_batches, ABOUT)
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
            write(tmp_path / "key", kinds, count, in_batches, ABOUT)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def killed(folder: str) -> None:
    """Write, in a process of its own, until that is killed."""

    def until_killed() -> Iterator[list[np.ndarray]]:
        yield next(in_batches())
        os.kill(os.getpid(), signal.SIGKILL)

    write(Path(folder) / "key", KINDS, 5, until_killed, ABOUT)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    """Whoever comes next writes it whole, and sweeps; who comes then computes nothing."""
    code = f"from tests.test_maps import killed; killed({str(tmp_path)!r})"
    root = Path(__file__).parents[1]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".bilinear-*.tmp")
    assert left.is_dir()
    assert not (tmp_path / "key").exists()
    write(tmp_path / "key", KINDS, 5, in_batches, ABOUT)
    assert not left.exists()
    opened(tmp_path / "key").rows(np.arange(5))
    write(tmp_path / "key", KINDS, 5, lambda: pytest.fail("computed again"), ABOUT)
