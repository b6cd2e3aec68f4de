"""The benchmark on frozen feature maps: its photographs, feature maps and tables."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage")
pytest.importorskip("sklearn")
pytest.importorskip("examples")
pytest.importorskip("benchmarks")
pytest.importorskip("torch")

import torch

from benchmarks import frozen
from examples import textures

GRAY = np.linspace(0, 255, 300 * 400).reshape(300, 400).astype(np.uint8)


def test_the_list_has_a_checksum_for_every_photograph() -> None:
    with frozen.LIST.open(newline="", encoding="utf-8") as file:
        names, checksums = zip(*[*csv.reader(file)][1:], strict=True)
    assert len({*names}) == len({*checksums}) == len(names)
    assert {len(bytes.fromhex(checksum)) for checksum in checksums} == {32}


def test_photographs_are_checked_and_resized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, listed = tmp_path / "a.png", tmp_path / "list.csv"
    Image.fromarray(GRAY).save(path)
    listed.write_text(f"path,sha256\na.png,{hashlib.sha256(path.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(frozen, "LIST", listed)
    monkeypatch.setattr(frozen, "INCLUDED", ("brick",))
    listed_one, included = frozen.photographs(tmp_path)
    assert listed_one.shape == (512, 683)
    assert np.array_equal(included, textures.photograph("brick"))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="another checksum"):
        frozen.photographs(tmp_path)


class Pyramid(torch.nn.Module):
    """Three feature maps, of 3, 2 and 1 channels."""

    def __init__(self, blocks: list[int]) -> None:
        super().__init__()

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        small = torch.nn.functional.avg_pool2d(images, 56)
        return [small, small[:, :2], small[:, :1, ::2, ::2]]


def test_feature_maps_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "Lite0", Pyramid)
    monkeypatch.setattr(frozen, "BLOCKS", {10: 3, 14: 2, 15: 1})
    monkeypatch.setattr(frozen, "COUNTS", {"train": 2, "validation": 1, "test": 1})
    photos = [textures.photograph("brick"), textures.photograph("moon")]
    maps = frozen.feature_maps(tmp_path, lambda: photos, 0)
    assert maps["train 10"].shape == (4, 3, 4, 4)
    assert maps["test 15"].shape == (2, 1, 2, 2)
    gray = (frozen.crops(photos, "train", 0).astype(np.float32) - 127) / 128
    means = gray.reshape(4, 4, 32, 4, 32).mean((2, 4))  # enlarging changes them little
    np.testing.assert_allclose(maps["train 10"][:, 0], means, atol=0.05)
    again = frozen.feature_maps(tmp_path, pytest.fail, 0)
    assert {k: v.tobytes() for k, v in again.items()} == {k: v.tobytes() for k, v in maps.items()}


def test_separable_descriptors_are_classified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "COUNTS", {"train": 4, "validation": 2, "test": 3})
    rng = np.random.default_rng(0)
    descriptors = {
        split: np.repeat(np.eye(3, 40), count, 0) + 0.01 * rng.standard_normal((3 * count, 40))
        for split, count in frozen.COUNTS.items()
    }
    assert frozen.accuracy(descriptors) == 100
    assert frozen.accuracy(descriptors | {"test": np.roll(descriptors["test"], 3, 0)}) == 0


def test_tables() -> None:
    """For two values with difference 2, the standard error is 1 and t(0.975; 1) is 12.706."""
    found = {("average", 10): [50.0, 54.0], ("bilinear", 10): [60.0, 62.0]}
    lines = frozen.tables(found, {10: "112 × 8 × 8"})
    assert "| pooling | block 10, 112 × 8 × 8 |" in lines
    assert "| average | 52.0 ± 25.4 |" in lines
    assert lines[-1] == "| bilinear | 9.0 ± 12.7 |"
