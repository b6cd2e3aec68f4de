"""The maps of frozen backbones on disk: what is kept is what is seen, and nothing else is used."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilinear.data import Index, open_dataset, validation_split
from bilinear.train import Cache, Images, Phase, Group, Recipe, fit
from bilinear.train.fit import pipelines, seen

from .agreement import relative_error
from .subjects import PRESENT, driver
from .tolerances import RUN
from .training import contents, events, recipe

over_backends = pytest.mark.parametrize("backend", PRESENT)
HEAD = Phase("head", (Group("head", 0.125, 1e-3),), 3)
LAST = Phase("last", (Group("head", 0.0625), Group("last:1", 0.015625, 1e-3)), 1)


def small(**changes: Any) -> Recipe:
    return recipe(**({"images": Images(32, 36), "phases": (HEAD, LAST)} | changes))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Three classes of six pictures, two of each for validation."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 128, (48, 40, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 127
            Image.fromarray(pixels).save(root / name / f"{i}.jpg")
    return validation_split(open_dataset(root), fraction=0.34)


def losses(folder: Path) -> np.ndarray:
    steps = [event["loss"] for event in events(folder, "step")]
    return np.array(steps + [event["validation_loss"] for event in events(folder, "epoch")])


@over_backends
def test_a_view_for_each_epoch_is_the_run_without_a_cache(
    backend: str, index: Index, tmp_path: Path
) -> None:
    driver(backend)
    told: list[dict] = []
    fit(small(), backend, index, tmp_path / "plain")
    cache = Cache(tmp_path / "maps", views=3)
    fit(small(), backend, index, tmp_path / "cached", cache=cache, watch=lambda e, n: told.append(dict(e)))
    assert relative_error(losses(tmp_path / "cached"), losses(tmp_path / "plain")) <= RUN
    print([e for e in told if e["event"] in ("cache", "fill", "phase")])
    fit(small(), backend, index, tmp_path / "again", cache=cache)
    assert contents(tmp_path / "again") == contents(tmp_path / "cached")
