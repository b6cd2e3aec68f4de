"""`fit`: recipes on image files, read by `bilinear.data.Pipeline`."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from bilinear.data import Augmentation, Index, open_dataset, validation_split
from bilinear.data.augment import LARGEST
from bilinear.data.images import Preprocessing, load_images
from bilinear.models.checkpoint import read_description
from bilinear.models.tensorfile import open_tensors
from bilinear.train import Group, Images, Phase, Recipe, fit, named_recipe
from bilinear.train.fit import make_preprocessing, open_pipelines
from bilinear.train.run import ENTRY

from ..datasets import color_images
from ..subjects import PRESENT, driver, needs_a_framework
from ..training import MODEL, contents, events, recipe

PREPROCESSING = Preprocessing((32, 28), 36)
ONE = Phase("head", (Group("head", 0.125),), 2)


def small(**changes: object) -> Recipe:
    return recipe(**({"images": Images((32, 28), 36), "phases": (ONE,)} | changes))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Three classes of six pictures, two of each for validation."""
    return validation_split(open_dataset(color_images(tmp_path / "pictures")), fraction=0.34)


def loaded(index: Index, batches: list, preprocessing: Preprocessing) -> np.ndarray:
    files = [index.root / index.items[i].path for batch in batches for i in batch.indices]
    return load_images(files, preprocessing)


def test_pipelines_follow_the_recipe(index: Index) -> None:
    with open_pipelines(small(), index, PREPROCESSING) as pipelines:
        training, validation, fixed = ([*pipeline.epoch(0)] for pipeline in pipelines)
    for batches, split in (training, "train"), (validation, "validation"), (fixed, "train"):
        assert [len(b.labels) for b in batches] == ([4, 4, 4] if split == "train" else [4, 2])
        assert {index.items[i].split for b in batches for i in b.indices} == {split}
        images = np.concatenate([b.images for b in batches])
        wanted = loaded(index, batches, PREPROCESSING)
        assert np.array_equal(images, wanted) == (batches is not training)


def test_square_images_are_resized_alike_in_both_splits_and_by_load_image(index: Index) -> None:
    squashed = small(images=Images(32, 32, square=True, random_crop=False, flip=False))
    preprocessing = make_preprocessing(squashed.images, None)
    assert preprocessing == Preprocessing(32, 32, square=True)
    with open_pipelines(squashed, index, preprocessing) as pipelines:
        for batches in ([*pipeline.epoch(0)] for pipeline in pipelines):
            images = np.concatenate([b.images for b in batches])
            np.testing.assert_array_equal(images, loaded(index, batches, preprocessing))


@pytest.mark.parametrize(
    ("images", "augmentation"),
    [
        (Images(32), Augmentation()),
        (Images(32, random_crop=False, flip=False), Augmentation("center", flip=False)),
        (Images(32, scale=(0.25, 0.5)), Augmentation("resized", scale=(0.25, 0.5))),
        *((Images(32, **{name: 0.5}), Augmentation(**{name: 0.5})) for name in LARGEST),
    ],
)
def test_augmentation_follows_the_recipe(
    images: Images, augmentation: Augmentation, index: Index
) -> None:
    with open_pipelines(small(images=images), index, PREPROCESSING) as pipelines:
        assert [p.decoder.augmentation for p in pipelines] == [augmentation, None, None]


def test_a_smaller_last_batch_is_left_out_in_training_only(index: Index) -> None:
    whole = small(batch_size=5, drop_last=True)
    with open_pipelines(whole, index, PREPROCESSING) as pipelines:
        sizes = [[len(b.labels) for b in pipeline.epoch(0)] for pipeline in pipelines]
    assert sizes == [[5, 5], [5, 1], [5, 5]]


def test_mean_and_std_come_from_the_weights() -> None:
    own = Preprocessing(224, None, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert make_preprocessing(Images(448, 512), own) == Preprocessing(448, 512, own.mean, own.std)
    assert make_preprocessing(named_recipe("bcnn-two-phase").images, None) == Preprocessing(448)


@needs_a_framework
def test_gray_images_with_one_channel(index: Index, tmp_path: Path) -> None:
    """Without weights too, mean and std are the averages of red, green and blue."""
    driver(PRESENT[0])
    of_one = small(model=replace(MODEL, in_channels=1), phases=(replace(ONE, epochs=1),))
    best = fit(of_one, PRESENT[0], index, tmp_path / "run")
    found, (mean, std) = read_description(best), map(fmean, (Preprocessing.mean, Preprocessing.std))
    assert found.in_channels == 1
    assert found.preprocessing == Preprocessing((32, 28), 36, (mean,), (std,))


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("swap"))
    other.rename(one)
    one.with_name("swap").rename(other)


@needs_a_framework
def test_a_damaged_image_file_is_named_and_the_run_resumes(index: Index, tmp_path: Path) -> None:
    """After its repair the run ends as an undisturbed one and repeats no step.

    First a training image of the last batch is damaged, then a validation image. Other changes of
    the images are refused.
    """
    driver(PRESENT[0])
    fit(small(), PRESENT[0], index, tmp_path / "whole")
    assert len(events(tmp_path / "whole", "step")) == 6
    with open_pipelines(small(), index, PREPROCESSING) as pipelines:
        lasts = [[*pipeline.epoch(0)][-1] for pipeline in pipelines[:2]]
    folder = tmp_path / "broken"
    for last, steps in zip(lasts, (2, 3), strict=True):
        path = index.root / index.items[last.indices[-1]].path
        intact = path.read_bytes()
        path.write_bytes(intact[: len(intact) // 2])
        with pytest.raises(ValueError, match=path.name):
            fit(small(), PRESENT[0], index, folder, resume=steps == 3)
        path.write_bytes(intact)
        assert len(events(folder, "step")) == steps
        with open_tensors(folder / "state.safetensors", "test") as file:
            assert json.loads((file.metadata() or {})[ENTRY])["step"] == steps
    fit(small(), PRESENT[0], index, folder, resume=True)
    assert contents(folder) == contents(tmp_path / "whole")
    swap(index.root / "blue", index.root / "green")
    with pytest.raises(ValueError, match=r"must be those of the run; got 12 changed: blue/0\.jpg"):
        fit(small(), PRESENT[0], index, folder, resume=True)
    swap(index.root / "blue", index.root / "green")
    pixels = index.root / "red" / "5.jpg"
    pixels.write_bytes((index.root / "red" / "4.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"got 1 changed: red/5\.jpg"):
        fit(small(), PRESENT[0], index, folder, resume=True)
    model = driver(PRESENT[0]).load(tmp_path / "whole" / "best.safetensors")
    assert model.classes == ("blue", "green", "red")
    assert model.preprocessing == PREPROCESSING
