"""The texture benchmark: its recipes, a run with its test, the choice and the tables."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")
pytest.importorskip("examples")
pytest.importorskip("benchmarks")

from benchmarks import textures
from benchmarks.textures import FACTORS, POOLS, Job, Row
from bilinear.data import open_dataset
from bilinear.train import NAMED_RECIPES, Recipe, named_recipe, override
from examples import texture_folder

from ..subjects import PRESENT, needs_a_framework

DOCS = (Path(__file__).parents[2] / "docs" / "textures.md").read_text(encoding="utf-8")


def test_recipes_have_the_phases_of_the_named_recipes() -> None:
    """Phases, parameter groups and schedules are equal; the docs list all other fields."""
    assert {path.stem for path in textures.RECIPES.iterdir()} == {*NAMED_RECIPES}
    for name in NAMED_RECIPES:
        here = Recipe.from_json((textures.RECIPES / f"{name}.json").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_every_pooling_has_the_same_number_of_learning_rates(name: str, pool: str) -> None:
    """The middle one is the default. The other groups do not change."""
    rates = []
    for factor in FACTORS:
        made = Job(name, "torch", pool, factor, 3).made()
        assert (made.seed, made.model.pool, made.model.weights) == (3, POOLS[pool], None)
        rates.append({made.learning_rates(phase)[0] for phase in made.phases})
    default = 0.01 if pool in {"average", "covariance"} else 1.0
    assert rates == [{default * factor} for factor in FACTORS]


@needs_a_framework
def test_a_run_is_stored_and_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small data set. A result of another recipe or machine is not reused."""
    job, short = Job("bcnn-two-phase", PRESENT[0], "bilinear", 1, 0), Job.made
    small = ["images.size=32", 'model.taps=["layer1"]', "phases.0.epochs=1", "phases.1.epochs=1"]
    monkeypatch.setattr(Job, "made", lambda self: override(short(self), small))
    for crop in texture_folder.read_list():
        if crop.number < 2:
            texture_folder.save(crop, tmp_path / "data")
    data = open_dataset(tmp_path / "data")
    found = textures.run(job, data, tmp_path)
    assert job.result(tmp_path) == found
    assert {*textures.MEASURES, "seconds", "stopped", "of"} == {*found}
    assert all(0 <= value <= 100 for value in textures.test(job, data, tmp_path))
    assert job._replace(seed=1).result(tmp_path) is None
    job.file(tmp_path).write_text(json.dumps(found | {"of": [found["of"][0], "another"]}))
    assert job.result(tmp_path) is None


def result(accuracy: float, loss: float, stopped: str = "") -> dict[str, Any]:
    measures = dict(zip(textures.MEASURES, (0.5, loss, accuracy), strict=True))
    return measures | {"seconds": 9.6, "stopped": stopped}


def test_the_choice_and_the_tables() -> None:
    """For two values with difference 2, the standard error is 1 and t(0.975; 1) is 12.706."""
    grid = {0.1: result(0.6, 1.0), 1: result(0.68, 2.0), 10: result(0.68, 1.5, "lost")}
    assert textures.choose(grid) == 10
    average = Row(grid, 0.1, [result(0.6, 1.0), result(0.62, 1.0)], [(50.0, 60.0), (54.0, 64.0)])
    results = [grid[10], result(0.72, 2.5)]
    bilinear = Row(grid, 10, results, [(60.0, 70.0), (62.0, 72.0)])
    lines = textures.tables({"average": average, "bilinear": bilinear})
    validated = "70.0 ± 25.4 (68.0 72.0)"
    two = "61.0 ± 12.7 (60.0 62.0) | 71.0 ± 12.7 (70.0 72.0)"
    assert f"| bilinear | 10† | 0.50 | 2.00 | {validated} | {two} | 10 |" in lines
    assert any(line.startswith("† Training stopped") for line in lines)
    assert f"| bilinear − average | {' | '.join(['9.0 ± 12.7 (10.0 8.0)'] * 2)} |" in lines
    assert "| average | 0.1: 60.0 | 1: 68.0 | 10: 68.0 |" in lines
