"""Files of descriptors: written in batches, searched in blocks, refused if they are damaged."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bilinear.analysis import descriptors

DESCRIPTORS = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
PATHS = ["a.jpg", "b.jpg", "ü.jpg", "d.jpg", "e.jpg"]

over_suffixes = pytest.mark.parametrize("suffix", descriptors.SUFFIXES)


def write_file(path: Path) -> Path:
    about = {"model": "model.safetensors", "sha256": "0" * 64, "classes": ("one", "two")}
    with descriptors.write_descriptors(path, 7, **about) as writer:
        writer.append(DESCRIPTORS[:3], PATHS[:3], [0, 1, 0])
        writer.append(DESCRIPTORS[3:], PATHS[3:], [1, 1])
    return path


@over_suffixes
def test_written_rows_are_read_back(suffix: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / f"f{suffix}")
    found, rows = descriptors.open_descriptors(path)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, DESCRIPTORS)
    assert rows.paths == PATHS
    assert rows.labels == [0, 1, 0, 1, 1]
    assert rows.classes == ["one", "two"]
    others = np.load(path) if suffix == ".npy" else load_file(path)["descriptors"]
    np.testing.assert_array_equal(others, DESCRIPTORS)
    assert sorted(os.listdir(tmp_path)) == [f"f{suffix}", f"f{suffix}.json"]


@over_suffixes
def test_a_failed_write_leaves_the_old_files(suffix: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / f"f{suffix}")

    def interrupted() -> None:
        with descriptors.write_descriptors(path, 7, model="other", sha256="1" * 64) as writer:
            writer.append(DESCRIPTORS[:2], PATHS[:2], [0] * 2)
            writer.append(DESCRIPTORS[:, :6], PATHS, [0] * 5)

    with pytest.raises(ValueError, match="each image must have 7 values"):
        interrupted()
    empty = descriptors.write_descriptors(path, 7, model="other", sha256="1" * 64)
    with pytest.raises(ValueError, match="must have at least one row"), empty:
        pass
    np.testing.assert_array_equal(descriptors.open_descriptors(path)[0], DESCRIPTORS)
    assert len(os.listdir(tmp_path)) == 2


@over_suffixes
def test_a_damaged_file_is_named_in_the_error(suffix: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / f"f{suffix}")
    json_file, content = tmp_path / f"f{suffix}.json", path.read_bytes()
    listed = json.loads(json_file.read_text())
    for damaged in (content[:-4], content[:100], content + b"1234", b"?" + content[1:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"f{suffix} and f{suffix}.json must be written by"):
            descriptors.open_descriptors(path)
    path.write_bytes(content)
    for text in (
        "",
        "[]",
        "{}",
        json.dumps(listed | {"format": "other"}),
        json.dumps(listed | {"paths": PATHS[:4], "labels": [0] * 4}),
        json.dumps(listed | {"labels": [0] * 4}),
        json.dumps(listed | {"paths": [], "labels": []}),
        json.dumps(listed | {"paths": 5}),
        json.dumps(listed | {"paths": [1, 2, 3, 4, 5]}),
        json.dumps(listed | {"classes": None}),
        json.dumps(listed | {"labels": [0, 1, 0, 1, 2]}),
        json.dumps(listed | {"labels": [0, 1, 0, 1, True]}),
        json.dumps(listed | {"checksum": None}),
        json.dumps(listed).replace("[0, 1, 0", "[NaN, 1, 0"),
        100_000 * "[",
        "\ufeff{}",
    ):
        json_file.write_text(text)
        with pytest.raises(ValueError, match=f"f{suffix} and f{suffix}.json must be written by"):
            descriptors.open_descriptors(path)
    json_file.unlink()
    with pytest.raises(FileNotFoundError):
        descriptors.open_descriptors(path)
    with pytest.raises(ValueError, match=r"must end in \.npy or \.safetensors"):
        descriptors.open_descriptors(tmp_path / "f.h5")


@over_suffixes
def test_files_that_do_not_belong_together_are_refused(suffix: str, tmp_path: Path) -> None:
    """As two writers at once leave them: equal shapes, images and model, but other rows."""
    path, other = write_file(tmp_path / f"f{suffix}"), tmp_path / f"g{suffix}"
    about = {"model": "model.safetensors", "sha256": "0" * 64, "classes": ("one", "two")}
    with descriptors.write_descriptors(other, 7, **about) as writer:
        writer.append(DESCRIPTORS[::-1], PATHS, [0, 1, 0, 1, 1])
    os.replace(other, path)
    with pytest.raises(ValueError, match="do not belong together"):
        descriptors.open_descriptors(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
@pytest.mark.parametrize("name", ["f.npy", "f.npy.json"])
def test_a_fifo_is_refused(name: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / "f.npy")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=f"{name}: the path must name a regular file; got a FIFO"):
        descriptors.open_descriptors(path)
    with pytest.raises(OSError, match=f"{name}: the path must name a regular file; got a FIFO"):
        write_file(path)
    assert (tmp_path / name).is_fifo()


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FA00000, 0x7F800000, 0x7149F2CA])
def test_norms_that_are_not_finite_are_refused(bits: int) -> None:
    """Of rows with a quiet or signalling NaN, infinity, or 1e30."""
    rows = np.array([[1, 2], [3, 4]], np.float32)
    rows.view(np.uint32)[1, 1] = bits
    with pytest.raises(ValueError, match="norms must be finite"):
        descriptors.nearest(rows, rows[0])


def test_too_little_disk_space_is_an_error(tmp_path: Path) -> None:
    needed, free = descriptors.check_disk_space(tmp_path / "f.npy", 3, 7)
    assert 3 * 7 * 4 < needed < free
    with pytest.raises(OSError, match=r"f\.npy needs .* GiB on the disk; got .* GiB free\. "):
        descriptors.check_disk_space(tmp_path / "f.npy", 2**40, 262_144)


def test_nearest_rows_by_cosine_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every block size. Ties are in row order, and the similarity of a zero row is 0."""
    rows = np.array([[3, 4], [0, 0], [-1, 0], [30, 40], [0, 2], [4, -3]], np.float32)
    query = np.array([6, 8], np.float32)
    for piece in (1, 4, 5, 100):
        monkeypatch.setattr(descriptors, "_PIECE", piece)
        order, similarity = descriptors.nearest(rows, query, 9)
        np.testing.assert_array_equal(order, [0, 3, 4, 1, 5, 2])
        np.testing.assert_allclose(similarity, [1, 1, 0.8, 0, 0, -0.6], atol=1e-7)
        assert descriptors.nearest(rows, query, 2)[0].tolist() == [0, 3]
    with pytest.raises(ValueError, match="lengths must be equal"):
        descriptors.nearest(rows, np.zeros(3, np.float32))
