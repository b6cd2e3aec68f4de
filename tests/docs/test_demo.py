"""The demo: its data, its networks, its figure and a small run."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
pytest.importorskip("examples")

import torch
from PIL import Image

from bilinear.data.images import load_image
from bilinear.testing.closeness import assert_rounded
from bilinear.torch import BCNN, BilinearPool, load
from examples import demo, figure, textures, training
from examples.textures import CLASSES, CROP

from ..subjects import PRESENT

SPLITS = ("train", "validation", "test")


def pixels(box: textures.Box, shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    return inside


def test_the_other_photographs_are_different() -> None:
    assert not set(textures.OTHER_PHOTOGRAPHS) & set(CLASSES)
    crops = textures.other_crops(2, seed=0)
    assert crops.images.shape == (2 * len(textures.OTHER_PHOTOGRAPHS), CROP, CROP)
    assert crops.labels.tolist() == sorted(list(range(len(textures.OTHER_PHOTOGRAPHS))) * 2)


@pytest.mark.parametrize("name", CLASSES)
def test_no_crop_contains_a_pixel_of_another_split(name: str) -> None:
    """Regions are disjoint, and bilinear interpolation stays inside the region."""
    photo = textures.photograph(name)
    assert photo.min() >= 0
    assert photo.max() <= 1
    covered = sum(pixels(textures.box(photo.shape, split), photo.shape) for split in SPLITS)
    assert np.array_equal(covered, np.ones(photo.shape))
    rng = np.random.default_rng(0)
    for split in SPLITS:
        box = textures.box(photo.shape, split)
        for _ in range(200):
            rows, columns = textures.crop_grid(box, rng)
            assert rows.shape == columns.shape == (CROP, CROP)
            assert rows.min() >= box.top
            assert rows.max() <= box.bottom - 1
            assert columns.min() >= box.left
            assert columns.max() <= box.right - 1


@pytest.mark.parametrize("split", SPLITS)
def test_crops_are_deterministic(split: textures.Split) -> None:
    first, again = (textures.texture_crops(split, 2, seed=3) for _ in range(2))
    other = textures.texture_crops(split, 2, seed=4)
    assert first.images.shape == (2 * len(CLASSES), CROP, CROP)
    assert first.images.dtype == np.uint8
    assert first.labels.tolist() == [label for label in range(len(CLASSES)) for _ in range(2)]
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


def test_a_saved_crop_loads_as_model_input(tmp_path: Path) -> None:
    crop = textures.texture_crops("test", 1, seed=0).images[:1]
    Image.fromarray(crop[0]).save(tmp_path / "crop.png")
    loaded = load_image(tmp_path / "crop.png", textures.PREPROCESSING)
    np.testing.assert_array_equal(loaded, textures.normalized(crop)[0])


def test_batches_have_equal_numbers_of_each_class() -> None:
    order = training.batches(3 * 8, 3, np.random.default_rng(0))
    assert sorted(order.ravel()) == list(range(24))
    assert all(np.bincount(batch // 8).tolist() == [training.PER_CLASS] * 3 for batch in order)


def test_the_control_depends_on_the_average_only() -> None:
    x = torch.rand(2, 6, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = torch.stack([x[:, c].roll(c, 1) for c in range(6)], 1)  # changes the products
    control, pool = training.BilinearOfAverage(), BilinearPool()
    assert_rounded(control(moved).numpy(), control(x).numpy(), 16 + 36 + 8)
    assert (pool(moved) - pool(x)).norm() > 0.01


def test_the_heat_sums_to_the_logit() -> None:
    pool = BilinearPool(eps=0.0)  # the formula has no eps
    model = BCNN("resnet18", 4, pool=pool, seed=0, dtype="float64").eval()
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 96, 128)))
    classes = torch.tensor([0, 3, 1])
    heat = figure.class_heat(model, images, classes)
    with torch.inference_mode():
        logits, descriptors = model(images), model.descriptors(images)
    expected = logits[range(3), classes] - logits.mean(1)  # the biases are 0
    assert heat.shape == (3, 3, 4)
    weight = model.canonical()["classifier.weight"].detach()
    summed = ((weight[classes] - weight.mean(0)) * descriptors).abs().sum(1).max()
    terms = 2 * 512 * 512 + 12 + 20  # sums over channel pairs and locations
    result = heat.sum((1, 2)).numpy()
    assert_rounded(result, expected.numpy(), terms, scale=float(summed))


def test_the_whole_demo_in_small(tmp_path: Path, monkeypatch, capsys) -> None:
    """Two seeds with few crops: training, the table, the file and the figure."""
    # the real function would restrict all later tests to two cores
    monkeypatch.setattr(demo, "limit_to_cores", lambda: 2)
    monkeypatch.setattr(demo, "FRAMEWORKS", {name: demo.FRAMEWORKS[name] for name in PRESENT})
    monkeypatch.setattr(demo, "TEST", 2)
    for module in (demo, training):
        monkeypatch.setattr(module, "TRAIN", 2)
        monkeypatch.setattr(module, "EPOCHS", 1)
    monkeypatch.setattr(training, "EPOCHS_PRETRAINING", 1)
    demo.run(2, tmp_path, scratch=False)
    printed = capsys.readouterr().out
    assert all(f"\n{pooling}  " in printed for pooling in training.POOLINGS)
    assert printed.count("equal   ") == len(PRESENT)
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert load(tmp_path / "textures.safetensors").classes == CLASSES
