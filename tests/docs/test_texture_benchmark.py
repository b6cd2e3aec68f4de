"""The texture benchmark: its recipes, its runs and its tables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("skimage")
pytest.importorskip("examples")
pytest.importorskip("benchmarks")

from benchmarks import texture_run, textures
from benchmarks.textures import Job
from bilinear.train import NAMED_RECIPES, Recipe, named_recipe
from examples import texture_folder

from ..subjects import PRESENT

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "textures.md").read_text(encoding="utf-8")


def test_recipes_have_the_phases_of_the_named_recipes() -> None:
    """Phases, parameter groups and schedules are equal; the docs list all other fields."""
    assert {path.stem for path in texture_run.RECIPES.iterdir()} == {*NAMED_RECIPES}
    for name in NAMED_RECIPES:
        here = Recipe.from_json((texture_run.RECIPES / f"{name}.json").read_text(encoding="utf-8"))
        published = named_recipe(name)
        for one, other in zip(here.phases, published.phases, strict=True):
            assert (one.name, one.schedule, one.optimizer) == (
                other.name,
                other.schedule,
                other.optimizer,
            )
            assert [g.parameters for g in one.groups] == [g.parameters for g in other.groups]
        assert (here.name, here.monitor) == (published.name, published.monitor)
    table = DOCS.partition("<!-- measured: recipes -->")[2].partition("<!-- end: recipes -->")[0]
    assert table.strip().splitlines() == textures.recipe_table()


@pytest.mark.parametrize("key", texture_run.KINDS)
def test_rows_have_recipes(key: str) -> None:
    made = texture_run.recipe(key, 3)
    assert made.seed == 3
    assert (made.model.pool == "AveragePool") == key.endswith("average")
    assert (made.model.backbone_b is not None) == (key == "two-stream")
    assert made.model.weights is None


@pytest.mark.skipif(not PRESENT, reason="needs a framework")
def test_a_run_writes_its_result(tmp_path: Path) -> None:
    """On a small data set. A result of another recipe or machine is not reused."""
    data, job = tmp_path / "data", Job("two-phase", PRESENT[0], 0)
    for crop in texture_folder.read_list():
        if crop.number < 2:
            texture_folder.save(crop, data)
    short = ["images.size=32", 'model.taps=["layer1"]', "phases.0.epochs=1", "phases.1.epochs=1"]
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    words = [*map(str, job), str(core), str(data), str(job.file(tmp_path)), *short]
    command = [sys.executable, "-m", "benchmarks.texture_run", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(job.file(tmp_path).read_text())
    assert [event["phase"] for event in result["epochs"]] == ["classifier", "all"]
    assert result["test"]["images"] == 2 * len(texture_folder.CLASSES)
    assert textures.load(tmp_path, [job]) == {}
    corrected = result | {"recipe": texture_run.recipe(job.key, job.seed).checksum()}
    job.file(tmp_path).write_text(json.dumps(corrected))
    assert textures.load(tmp_path, [job]) == {job: corrected}
    job.file(tmp_path).write_text(json.dumps(corrected | {"machine": "another"}))
    assert textures.load(tmp_path, [job]) == {}


def result(top1: float, loss: float) -> dict[str, Any]:
    ends = [{"validation_loss": 2.0}, {"validation_loss": loss}]
    return {"epochs": ends, "test": {"images": 200, "top1": top1}, "stopped": False, "seconds": 9.6}


def test_tables() -> None:
    """For two values with difference 2, the standard error is 1 and t(0.975; 1) is 12.706."""
    numbers = {"two-phase": (0.60, 0.62), "two-phase-average": (0.50, 0.54)}
    found = {
        Job(key, framework, seed): result(values[seed] + (framework == "jax") * 0.01, 1 - seed / 4)
        for key, values in numbers.items()
        for framework in ("torch", "jax")
        for seed in (0, 1)
    }
    found[Job("two-stream", "jax", 0)] = result(0.5, 1.0) | {"stopped": True}
    lines = textures.tables(found, ("torch", "jax"))
    assert "| two-phase | 61.0 ± 12.7 (60.0 62.0) | 62.0 ± 12.7 (61.0 63.0) |" in lines
    assert "| multi-phase | – | – |" in lines
    assert "| two-stream | – | 50.0† |" in lines
    assert any(line.startswith("† Training stopped") for line in lines)
    ahead = "9.0 ± 12.7 (10.0 8.0)"
    assert f"| B-CNN − average pooling, two-phase | {ahead} | {ahead} |" in lines
    row = (
        "| two-phase, 1 | 2.0000 2.0000 (0e+00) | 0.7500 0.7500 (0e+00) | 62.0 63.0 (1.0) | 10 10 |"
    )
    assert row in lines
