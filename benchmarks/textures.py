"""The texture benchmark: accuracies of the recipes in every framework, with intervals.

    python -m benchmarks.textures                        3 seeds, all frameworks; nox -s textures
    python -m benchmarks.textures --seeds 5 --framework torch
    python -m benchmarks.textures --write docs/textures.md

Each run is one process on one core, and one runs on each core at a time. Results are files in
`out/texture-runs`. A run is not repeated if its file has the same recipe, machine and versions. If
the code of this project has changed, start with an empty folder. Every model is tested once on the
test split, with `bilinear evaluate`.
"""

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bilinear.train import NAMED_RECIPES
from examples import texture_folder
from examples.intervals import mean_and_margin

from . import machine
from .report import table, write
from .texture_run import KINDS, differences, machine_of, recipe

FRAMEWORKS = ("torch", "tensorflow", "jax")
DIFFERENCES = {
    "B-CNN − average pooling, two-phase": ("two-phase", "two-phase-average"),
    "B-CNN − average pooling, multi-phase": ("multi-phase", "multi-phase-average"),
    "two streams − one": ("two-stream", "two-stream-one"),
    "multi-phase − two-phase": ("multi-phase", "two-phase"),
}
"""Name of a difference -> its two rows."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Job(NamedTuple):
    key: str
    framework: str
    seed: int

    def file(self, folder: Path) -> Path:
        return folder / f"{self.key}-{self.framework}-{self.seed}.json"


Found = Mapping[Job, Mapping[str, Any]]
"""Results by job."""


def jobs(keys: Sequence[str], frameworks: Sequence[str], seeds: int) -> list[Job]:
    """Jobs in the order of seeds, so that an interrupted benchmark has complete seeds."""
    return [Job(key, f, seed) for seed in range(seeds) for key in keys for f in frameworks]


def load(folder: Path, wanted: Iterable[Job]) -> Found:
    """Read the results with the current recipe, machine and versions."""
    found = {}
    here = {job.framework: machine_of(job.framework) for job in wanted}
    for job in wanted:
        if job.file(folder).is_file():
            result = json.loads(job.file(folder).read_text(encoding="utf-8"))
            own = recipe(job.key, job.seed).checksum(), here[job.framework]
            if (result["recipe"], result["machine"]) == own:
                found[job] = result
    return found


def run_all(folder: Path, data: Path, wanted: Sequence[Job]) -> int:
    """Run the jobs without a result, one on each core; return the number of failures."""
    folder.mkdir(parents=True, exist_ok=True)
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    cores: queue.Queue[int] = queue.Queue()
    for core in usable:
        cores.put(core)

    def one(job: Job) -> bool:
        core = cores.get()
        words = [*map(str, job), str(core), str(data), str(job.file(folder))]
        command = [sys.executable, "-m", "benchmarks.texture_run", *words]
        environment = os.environ | ONE_THREAD
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        cores.put(core)
        note = f"FAILED\n{done.stderr[-2000:]}" if done.returncode else "done"
        print(f"{job.key}, {job.framework}, seed {job.seed}: {note}", file=sys.stderr, flush=True)
        return bool(done.returncode)

    done = load(folder, wanted)
    with ThreadPoolExecutor(len(usable)) as pool:
        return sum(pool.map(one, [job for job in wanted if job not in done]))


def tables(found: Found, frameworks: Sequence[str]) -> list[str]:
    """Markdown tables of accuracies, paired differences, and the frameworks side by side."""
    tested = {result["test"]["images"] for result in found.values()}
    accuracies = {job: 100 * result["test"]["top1"] for job, result in found.items()}
    values = "the mean with its 95 % interval, and in brackets the value of each seed"
    lines = [f"This table shows the test accuracy on {tested.pop()} crops in %: {values}.", ""]
    marked = {job for job, result in found.items() if result.get("stopped")}
    rows = [[key, *(_cell(accuracies, marked, key, f) for f in frameworks)] for key in KINDS]
    lines += table(("recipe", *frameworks), rows)
    if marked:
        words = "Training stopped, because the network collapsed to chance level"
        lines += ["", f"† {words}. The best earlier model was tested."]
    units = "differences in percentage points, paired by seed"
    lines += ["", f"This table shows {units}: {values}.", ""]
    rows = [
        [what, *(summary(_differences(accuracies, one, other, f)) for f in frameworks)]
        for what, (one, other) in DIFFERENCES.items()
    ]
    return [*lines, *table(("difference", *frameworks), rows), "", *side_by_side(found, frameworks)]


def recipe_table() -> list[str]:
    """Markdown table of the fields that differ from the published recipes."""
    found = {name: differences(name) for name in NAMED_RECIPES}
    fields = dict.fromkeys(field for differing in found.values() for field in differing)
    rows = [
        [f"`{field}`", *(" → ".join(found[name].get(field, ())) for name in NAMED_RECIPES)]
        for field in fields
    ]
    return table(("named → here", *(f"`{name}`" for name in NAMED_RECIPES)), rows)


def _seeds(accuracies: Mapping[Job, float], key: str, framework: str) -> dict[int, float]:
    """Seed -> accuracy of a row in a framework."""
    selected = (job for job in accuracies if (job.key, job.framework) == (key, framework))
    return {job.seed: accuracies[job] for job in sorted(selected)}


def _cell(
    accuracies: Mapping[Job, float], marked: Collection[Job], key: str, framework: str
) -> str:
    """Accuracies of a row in a framework. Stopped runs are marked."""
    seeds = _seeds(accuracies, key, framework)
    return summary(seeds, [seed for seed in seeds if Job(key, framework, seed) in marked])


def _differences(
    accuracies: Mapping[Job, float], one: str, other: str, framework: str
) -> dict[int, float]:
    """Seed -> difference of two rows."""
    a, b = (_seeds(accuracies, key, framework) for key in (one, other))
    return {seed: a[seed] - b[seed] for seed in a if seed in b}


def summary(values: Mapping[int, float], marked: Collection[int] = ()) -> str:
    """Mean ± half the width of the 95 % interval, and the value of each seed."""
    each = " ".join(f"{value:.1f}{'†' * (seed in marked)}" for seed, value in values.items())
    if len(values) < 2:
        return each or "–"
    mean, margin = mean_and_margin(list(values.values()))
    return f"{mean:.1f} ± {margin:.1f} ({each})"


def side_by_side(found: Found, frameworks: Sequence[str]) -> list[str]:
    """For each row and seed the results of each framework, and their largest difference."""
    head = ("recipe, seed", "first validation loss", "last validation loss", "test, %", "seconds")
    columns: Sequence[tuple[Callable[[Mapping[str, Any]], float], str, str]] = (
        (lambda run: run["epochs"][0]["validation_loss"], "{:.4f}", " ({:.0e})"),
        (lambda run: run["epochs"][-1]["validation_loss"], "{:.4f}", " ({:.0e})"),
        (lambda run: 100 * run["test"]["top1"], "{:.1f}", " ({:.1f})"),
        (lambda run: run["seconds"], "{:.0f}", ""),
    )
    rows = []
    for key, seed in sorted({(job.key, job.seed) for job in found}):
        runs = [found.get(Job(key, framework, seed)) for framework in frameworks]
        cells = [_join_values(column, each, apart, runs) for column, each, apart in columns]
        rows.append([f"{key}, {seed}", *cells])
    *names, last = frameworks
    listed = f"{', '.join(names)} and {last}" if names else last
    sentence = f"Each cell lists the values of {listed}. Their largest difference is in brackets."
    return [sentence, "", *table(head, rows)]


def _join_values(
    column: Callable[[Mapping[str, Any]], float],
    each: str,
    apart: str,
    runs: Sequence[Mapping[str, Any] | None],
) -> str:
    """The values of the runs and their largest difference."""
    listed = " ".join(each.format(column(run)) if run else "–" for run in runs)
    values = [column(run) for run in runs if run]
    return listed + apart.format(max(values) - min(values))


def main() -> None:
    present = [f for f in FRAMEWORKS if importlib.util.find_spec(f)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", nargs="+", choices=FRAMEWORKS, default=present)
    parser.add_argument(
        "--row", nargs="+", choices=KINDS, default=[*KINDS], help="run only these rows"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for data and results")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="Markdown file whose tables are replaced"
    )
    given = parser.parse_args()
    data, folder = given.out / "textures", given.out / "texture-runs"
    texture_folder.write(data)
    wanted = jobs(given.row, given.framework, given.seeds)
    failed = run_all(folder, data, wanted)
    found = load(folder, jobs([*KINDS], given.framework, given.seeds))
    if not found:
        raise SystemExit("all runs failed")
    lines = [
        machine.describe(given.framework, "cpu", 1),
        "",
        *tables(found, given.framework),
    ]
    print("\n".join(lines))
    if given.write:
        write(given.write, "recipes", recipe_table())
        write(given.write, "textures", lines)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
