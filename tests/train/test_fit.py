"""Recipes on real image files, by the real pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bilinear.data import Index, open_dataset, validation_split
from bilinear.data.images import Preprocessing, load_image, load_images
from bilinear.models.tensorfile import open_tensors
from bilinear.train import Group, Images, Phase, Recipe, fit, named
from bilinear.train.fit import pipelines, seen
from bilinear.train.run import ENTRY

from ..datasets import coloured
from ..subjects import PRESENT, driver
from ..training import contents, events, recipe

SEEN = Preprocessing(32, 36)
ONE = Phase("head", (Group("head", 0.125),), 2)


def small(**changes: object) -> Recipe:
    return recipe(**({"images": Images(32, 36), "phases": (ONE,)} | changes))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Three classes of six pictures, two of each for validation."""
    return validation_split(open_dataset(coloured(tmp_path / "pictures")), fraction=0.34)


def test_pipelines_are_those_of_the_recipe(index: Index) -> None:
    with pipelines(small(), index, SEEN) as (training, validation):
        (first, *others) = training.epoch(0)
        batches = list(validation.epoch(0))
    assert [len(b.labels) for b in (first, *others)] == [4, 4, 4]
    assert first.images.shape == (4, 32, 32, 3)
    files = [index.root / index.items[i].path for b in batches for i in b.indices]
    parts = {index.items[i].split for b in batches for i in b.indices}
    assert (len(files), parts) == (6, {"validation"})
    np.testing.assert_array_equal(
        np.concatenate([b.images for b in batches]), load_images(files, SEEN)
    )


def test_a_square_recipe_squashes_both_parts_and_what_loads_for_its_model(index: Index) -> None:
    squashed = small(images=Images(32, 32, square=True, random_crop=False, flip=False))
    preprocessing = seen(squashed.images, None)
    assert preprocessing == Preprocessing(32, 32, square=True)
    with pipelines(squashed, index, preprocessing) as both:
        for pipeline in both:
            for batch in pipeline.epoch(0):
                for place, image in zip(batch.indices, batch.images, strict=True):
                    with Image.open(index.root / index.items[place].path) as file:
                        small_one = file.resize((32, 32), Image.Resampling.BILINEAR)
                    pixels = np.asarray(small_one, np.float32) / np.float32(255)
                    wanted = (pixels - np.float32(SEEN.mean)) / np.float32(SEEN.std)
                    np.testing.assert_array_equal(image, wanted)
                    loaded = load_image(index.root / index.items[place].path, preprocessing)
                    np.testing.assert_array_equal(loaded, wanted)


def test_colours_are_those_of_the_weights() -> None:
    own = Preprocessing(224, None, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert seen(Images(448, 512), own) == Preprocessing(448, 512, own.mean, own.std)
    assert seen(named("bcnn-two-phase").images, None) == Preprocessing(448)


@pytest.mark.skipif(not PRESENT, reason="there is no engine")
def test_a_broken_file_in_the_middle_of_an_epoch(index: Index, tmp_path: Path) -> None:
    """It is named; mended, the run goes on to where an undisturbed one ends, and repeats no step.

    First one to train on is broken, in the last batch, then one to validate on.
    """
    driver(PRESENT[0])
    fit(small(), PRESENT[0], index, tmp_path / "whole")
    assert len(events(tmp_path / "whole", "step")) == 6
    with pipelines(small(), index, SEEN) as both:
        lasts = [[*pipeline.epoch(0)][-1] for pipeline in both]
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
    model = driver(PRESENT[0]).load(tmp_path / "whole" / "best.safetensors")
    assert model.classes == ("blue", "green", "red")
    assert model.preprocessing == SEEN
