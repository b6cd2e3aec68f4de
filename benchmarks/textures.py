"""The texture benchmark: pooling layers with equal effort, chosen on validation crops, tested once.

    nox -s textures                                      prints the tables of docs/textures.md
    python -m benchmarks.textures --write docs/textures.md
    python -m benchmarks.textures --recipe multi-phase --framework jax --seeds 5

Each pooling layer is trained by a recipe with three learning rates of its classifier, with seed 0.
The learning rate with the best validation accuracy is chosen and trained with more seeds. Then its
models are tested, and so are linear SVMs on their descriptors. Runs are files in
`out/texture-runs`. A run is not repeated if its file has the same recipe, machine and versions. If
the code of this project has changed, start with an empty folder.
"""

import argparse
import importlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bilinear._files import replace_file
from bilinear.analysis.metrics import top_k_accuracy
from bilinear.data import Index, open_dataset
from bilinear.data.images import load_images
from bilinear.models.inference import Inference
from bilinear.train import NAMED_RECIPES, Recipe, fit, named_recipe, override
from examples import texture_folder
from examples.intervals import mean_and_margin

from . import machine
from .report import table, write
from .svm import svm_accuracy

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
POOLS = {
    "average": "AveragePool",
    "bilinear": "BilinearPool",
    "covariance": "CovariancePool",
    "compact": "CompactBilinearPool",
    "low-rank": "LowRankBilinearPool",
    "improved": "ImprovedBilinearPool",
}
"""Row -> pool. The first row is the baseline."""
FACTORS = (0.1, 1, 10)
"""The learning rates of the classifier, relative to the default of the pool."""
SPLITS = ("train", "validation", "test")
MEASURES = ("training_loss", "validation_loss", "validation_accuracy")


class Job(NamedTuple):
    recipe: str
    framework: str
    pool: str
    factor: float
    seed: int

    def made(self) -> Recipe:
        """The recipe with the pool, and the learning rate of the classifier in every phase."""
        text = (RECIPES / f"{self.recipe}.json").read_text(encoding="utf-8")
        changes = [f"model.pool={POOLS[self.pool]}", f"seed={self.seed}"]
        made = override(Recipe.from_json(text), changes)
        rates = [self.factor * made.learning_rates(phase)[0] for phase in made.phases]
        return override(
            made, [f"phases.{i}.groups.0.learning_rate={rate:g}" for i, rate in enumerate(rates)]
        )

    def file(self, folder: Path) -> Path:
        return folder / ("-".join(map(str, self)) + ".json")

    def result(self, folder: Path) -> dict[str, Any] | None:
        """The result, if it is that of the recipe, machine and versions."""
        if not self.file(folder).is_file():
            return None
        found = json.loads(self.file(folder).read_text(encoding="utf-8"))
        return found if found["of"] == self.identity() else None

    def identity(self) -> list[str]:
        return [self.made().checksum(), machine.describe([self.framework], "cpu", 1)]


def run(job: Job, data: Index, folder: Path) -> dict[str, Any]:
    """Train; write the best model and the measures of its epoch."""
    start, stopped = time.process_time(), ""
    best: dict[str, Any] = {"training_loss": math.inf, "validation_loss": math.inf}
    best |= {"validation_accuracy": 0.0}  # of a run that stops before its first validation
    with tempfile.TemporaryDirectory() as name:
        try:
            fit(job.made(), job.framework, data, Path(name) / "run")
        except FloatingPointError as error:  # the best epoch before it counts
            stopped = str(error)
        lines = (Path(name) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        for event in map(json.loads, lines):
            best = event if event.get("best") else best
        file = Path(name) / "run" / "best.safetensors"
        model = file.read_bytes() if file.is_file() else b""
    seconds = time.process_time() - start
    found = {"of": job.identity(), "stopped": stopped, "seconds": seconds}
    found |= {measure: best[measure] for measure in MEASURES}
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (job.file(folder).with_suffix(".safetensors"), model),
        (job.file(folder), json.dumps(found).encode()),
    ):
        with replace_file(path) as temporary:
            Path(temporary).write_bytes(content)
    return found


def test(job: Job, data: Index, folder: Path) -> tuple[float, float]:
    """Test accuracies in % of a model, and of linear SVMs on its descriptors."""
    path = str(job.file(folder).with_suffix(".safetensors"))
    model = importlib.import_module(f"bilinear.{job.framework}").load(path)
    inference = Inference(model, job.framework)
    descriptors, labels, accuracy = {}, {}, 0.0
    for split in SPLITS:
        items = data.split(split)
        images = load_images([data.root / item.path for item in items], model.preprocessing)
        batches = np.split(images, range(32, len(images), 32))
        labels[split] = np.array([item.label for item in items])
        descriptors[split] = np.concatenate([inference.descriptors(batch) for batch in batches])
        if split == "test":
            logits = np.concatenate([inference.logits(batch) for batch in batches])
            accuracy = 100 * top_k_accuracy(logits, labels[split])
    return accuracy, svm_accuracy(descriptors, labels, len(data.classes))


class Row(NamedTuple):
    """What is known of a pooling layer."""

    grid: Mapping[float, Mapping[str, Any]]
    """Learning rate of the classifier -> the result of seed 0."""
    chosen: float
    """One of these learning rates."""
    results: Sequence[Mapping[str, Any]]
    """Those of all seeds with the chosen learning rate."""
    tested: Sequence[tuple[float, float]]
    """For each seed, the test accuracies of the network and of the SVMs."""


def choose(grid: Mapping[float, Mapping[str, Any]]) -> float:
    """The key with the best validation accuracy; of equal ones, that with the lowest loss."""
    _, loss, accuracy = MEASURES
    return max(grid, key=lambda key: (grid[key][accuracy], -grid[key][loss]))


def tables(rows: Mapping[str, Row]) -> list[str]:
    """Markdown tables: the tested models, differences to the first row, and the choice."""
    head = ("pooling", "learning rate", "training loss", "validation loss", "validation, %")
    lines, differences, grid = [], [], []
    baseline, *_ = rows
    for pool, row in rows.items():
        training, loss, accuracy = ([r[measure] for r in row.results] for measure in MEASURES)
        stopped = "†" if any(result["stopped"] for result in row.results) else ""
        cells = [f"{row.chosen:g}{stopped}", *(f"{np.mean(x):.2f}" for x in (training, loss))]
        cells += [_interval([100 * value for value in accuracy])]
        cells += [_interval(values) for values in zip(*row.tested, strict=True)]
        lines.append([pool, *cells, f"{np.mean([r['seconds'] for r in row.results]):.0f}"])
        if pool != baseline:
            gains = np.subtract(row.tested, rows[baseline].tested).T
            cells = [_interval(gain.tolist()) for gain in gains]
            differences.append([f"{pool} − {baseline}", *cells])
        pairs = ((rate, 100 * result["validation_accuracy"]) for rate, result in row.grid.items())
        grid.append([pool, *(f"{rate:g}: {value:.1f}" for rate, value in pairs)])
    lines = table((*head, "test, %", "SVM, test, %", "CPU seconds"), lines)
    if any("†" in line for line in lines):
        words = "Training stopped, because the network collapsed to chance level or diverged"
        lines += ["", f"† {words}. The best earlier epoch counts."]
    lines += ["", "Differences of test accuracies in percentage points, paired by seed:", ""]
    lines += [*table(("difference", "test", "SVM, test"), differences), ""]
    words = "The learning rates of the classifier, with the validation accuracy of seed 0 in %"
    return [*lines, f"{words}:", "", *table(("pooling", *("",) * len(FACTORS)), grid)]


def _interval(values: Sequence[float]) -> str:
    """Mean ± half the width of the 95 % interval, and the values."""
    mean, margin = mean_and_margin(values)
    return f"{mean:.1f} ± {margin:.1f} ({' '.join(f'{value:.1f}' for value in values)})"


def recipe_table() -> list[str]:
    """Markdown table of the fields in which the example recipes differ from the named ones."""
    found = {name: _differences(name) for name in NAMED_RECIPES}
    fields = dict.fromkeys(field for differing in found.values() for field in differing)
    rows = [
        [f"`{field}`", *(" → ".join(found[name].get(field, ())) for name in NAMED_RECIPES)]
        for field in fields
    ]
    return table(("named → here", *(f"`{name}`" for name in NAMED_RECIPES)), rows)


def _differences(name: str) -> dict[str, tuple[str, str]]:
    """Path of each field that differs -> its value in the named recipe and here, as JSON."""
    here = dict(_leaves(json.loads((RECIPES / f"{name}.json").read_text(encoding="utf-8"))))
    named = dict(_leaves(json.loads(named_recipe(name).to_json())))
    paths = [p for p in {**named, **here} if named.get(p) != here.get(p)]
    return {p: (json.dumps(named.get(p)), json.dumps(here.get(p))) for p in paths}


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of each scalar or list of scalars in JSON data."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        inner = value if isinstance(value, dict) else None
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            inner = value
        where = f"{path}.{key}".lstrip(".")
        yield from [(where, value)] if inner is None else _leaves(inner, where)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recipe", choices=NAMED_RECIPES, default="bcnn-two-phase")
    parser.add_argument("--framework", default="torch", help="torch, tensorflow or jax")
    parser.add_argument("--pool", nargs="+", choices=POOLS, default=[*POOLS], help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for data and runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to update")
    given = parser.parse_args()
    # one thread, before a framework is imported
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    texture_folder.write(given.out / "textures")
    data, folder = open_dataset(given.out / "textures"), given.out / "texture-runs"

    def result(job: Job) -> dict[str, Any]:
        found = job.result(folder) or run(job, data, folder)
        print(job, json.dumps(found), file=sys.stderr, flush=True)
        return found

    rows = {}
    for pool in given.pool:
        jobs = {factor: Job(given.recipe, given.framework, pool, factor, 0) for factor in FACTORS}
        rates = {f: job.made().learning_rates(job.made().phases[0])[0] for f, job in jobs.items()}
        grid = {factor: result(job) for factor, job in jobs.items()}
        chosen = choose(grid)
        seeds = [jobs[chosen]._replace(seed=seed) for seed in range(given.seeds)]
        results = [result(job) for job in seeds]
        tested = [test(job, data, folder) for job in seeds]
        rows[pool] = Row({rates[f]: grid[f] for f in FACTORS}, rates[chosen], results, tested)
    described = machine.describe([given.framework], "cpu", 1)
    lines = [described, "", *tables(rows)]
    print("\n".join(lines))
    if given.write:
        write(given.write, "recipes", recipe_table())
        write(given.write, "textures", lines)


if __name__ == "__main__":
    main()
