"""The examples of docs/data.md run, and give the batches of the pipeline."""

import re
from pathlib import Path

import numpy as np
import pytest

from bilinear.data import Augmentation, Pipeline, open_dataset
from bilinear.data.images import Preprocessing

from .. import datasets
from ..subjects import PRESENT

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
if not DOCS.is_file():
    pytest.skip("the documents are elsewhere", allow_module_level=True)

SNIPPETS = dict(re.findall(r"```python\n# (\w+)\n(.*?)```", DOCS.read_text(), re.DOTALL))
PREPROCESSING = Preprocessing(16)


def test_the_first_example_runs(tmp_path, monkeypatch, capsys):
    datasets.photographs(tmp_path / "photos", wren=4, finch=4)
    monkeypatch.chdir(tmp_path)
    exec(SNIPPETS["NumPy"], {})
    assert sorted(re.findall(r"\w+", capsys.readouterr().out)) == ["finch"] * 3 + ["wren"] * 3


@pytest.mark.parametrize("framework", ["PyTorch", "TensorFlow"])
def test_framework_loaders_give_the_same_batches(tmp_path, framework):
    if {"PyTorch": "torch", "TensorFlow": "tensorflow"}[framework] not in PRESENT:
        pytest.skip(f"{framework} is absent")
    index = open_dataset(datasets.photographs(tmp_path, wren=3, finch=4))
    options = {"batch_size": 2, "preprocessing": PREPROCESSING, "augmentation": Augmentation()}
    pipeline = Pipeline(index, **options)
    seen = []
    code = SNIPPETS[framework].rstrip().removesuffix("...").rstrip()
    code += "\n    seen.append((images, labels, indices))\n"
    exec(code, {"pipeline": pipeline, "preprocessing": PREPROCESSING, "seen": seen})
    expected = list(pipeline.epoch(0))
    assert len(seen) == len(expected) == 4
    for arrays, batch in zip(seen, expected, strict=True):
        images, *numbers = (np.asarray(array) for array in arrays)
        last = np.moveaxis(images, 1, -1) if framework == "PyTorch" else images
        np.testing.assert_array_equal(last, batch.images)
        assert last.dtype == np.float32
        for found, same in zip(numbers, batch[1:], strict=True):
            np.testing.assert_array_equal(found, same)
            assert found.dtype == np.int64


def test_the_table_has_the_checked_counts():
    from bilinear.data import aircraft, cars, cub  # noqa: PLC0415

    text = DOCS.read_text()
    for module in (cub, cars):
        counts = module.COUNTS
        assert f"| {counts.classes} | {counts.train:,}, –, {counts.test:,} |" in text
    classes = ", ".join(f"{n} {f.removesuffix('.txt')}" for f, n in aircraft.CLASSES.values())
    assert f"| {classes} | 3,334, 3,333, 3,333 |" in text
