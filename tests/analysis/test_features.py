"""Files of descriptors: written in pieces, searched in pieces, refused where damaged."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bilinear.analysis import descriptors as features

DESCRIPTORS = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
PATHS = ["a.jpg", "b.jpg", "ü.jpg", "d.jpg", "e.jpg"]

over_suffixes = pytest.mark.parametrize("suffix", features.SUFFIXES)


def written(path: Path) -> Path:
    about = {"model": "model.safetensors", "sha256": "0" * 64, "classes": ("one", "two")}
    with features.features_file(path, 7, **about) as writer:
        writer.append(DESCRIPTORS[:3], PATHS[:3], [0, 1, 0])
        writer.append(DESCRIPTORS[3:], PATHS[3:], [1, 1])
    return path


@over_suffixes
def test_rows_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"f{suffix}")
    descriptors, rows = features.open_features(path)
    assert isinstance(descriptors, np.memmap)
    np.testing.assert_array_equal(descriptors, DESCRIPTORS)
    assert rows.paths == PATHS
    assert rows.labels == [0, 1, 0, 1, 1]
    assert rows.classes == ["one", "two"]
    others = np.load(path) if suffix == ".npy" else load_file(path)["descriptors"]
    np.testing.assert_array_equal(others, DESCRIPTORS)
    assert sorted(os.listdir(tmp_path)) == [f"f{suffix}", f"f{suffix}.json"]


@over_suffixes
def test_what_fails_leaves_the_old_files(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"f{suffix}")

    def interrupted() -> None:
        with features.features_file(path, 7, model="other", sha256="1" * 64) as writer:
            writer.append(DESCRIPTORS[:2], PATHS[:2], [0] * 2)
            writer.append(DESCRIPTORS[:, :6], PATHS, [0] * 5)

    with pytest.raises(ValueError, match="each row must have 7 numbers"):
        interrupted()
    empty = features.features_file(path, 7, model="other", sha256="1" * 64)
    with pytest.raises(ValueError, match="must hold an image"), empty:
        pass
    np.testing.assert_array_equal(features.open_features(path)[0], DESCRIPTORS)
    assert len(os.listdir(tmp_path)) == 2


@over_suffixes
def test_damaged_files_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"f{suffix}")
    beside, content = tmp_path / f"f{suffix}.json", path.read_bytes()
    listed = json.loads(beside.read_text())
    for damaged in (content[:-4], content[:100], content + b"1234", b"?" + content[1:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"f{suffix} must hold descriptors"):
            features.open_features(path)
    path.write_bytes(content)
    for text in (
        "",
        "[]",
        "{}",
        json.dumps(listed | {"format": "other"}),
        json.dumps(listed | {"paths": PATHS[:4], "labels": [0] * 4}),
        json.dumps(listed | {"labels": [0] * 4}),
        json.dumps(listed | {"paths": [], "labels": []}),
    ):
        beside.write_text(text)
        with pytest.raises(ValueError, match=f"f{suffix} must hold descriptors"):
            features.open_features(path)
    beside.unlink()
    with pytest.raises(FileNotFoundError):
        features.open_features(path)
    with pytest.raises(ValueError, match=r"must end in \.npy or \.safetensors"):
        features.open_features(tmp_path / "f.h5")


def test_room_on_the_disk_is_asked_for_first(tmp_path: Path) -> None:
    needed, free = features.check_room(tmp_path / "f.npy", 3, 7)
    assert 3 * 7 * 4 < needed < free
    with pytest.raises(OSError, match=r"f\.npy needs .* GiB on the disk; got .* GiB\. "):
        features.check_room(tmp_path / "f.npy", 2**40, 262_144)


def test_nearest_is_by_the_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces; of equal ones the first, and a zero row is like nothing."""
    rows = np.array([[3, 4], [0, 0], [-1, 0], [30, 40], [0, 2], [4, -3]], np.float32)
    query = np.array([6, 8], np.float32)
    for piece in (1, 4, 5, 100):
        monkeypatch.setattr(features, "_PIECE", piece)
        order, similarity = features.nearest(rows, query, 9)
        np.testing.assert_array_equal(order, [0, 3, 4, 1, 5, 2])
        np.testing.assert_allclose(similarity, [1, 1, 0.8, 0, 0, -0.6], atol=1e-7)
        assert features.nearest(rows, query, 2)[0].tolist() == [0, 3]
    with pytest.raises(ValueError, match="must have one length"):
        features.nearest(rows, np.zeros(3, np.float32))
