"""Time, size and memory of descriptors and of search, and what 10 million images would take.

    python -m benchmarks.retrieval                              print the tables
    python -m benchmarks.retrieval --write docs/scaling.md      also replace them in this file
    python -m benchmarks.retrieval --images 100000              more rows: slower

Times are CPU times, which are those of one core, whatever else the machine does. Rows are random
points around centers. The model has random weights: its time does not depend on them. Each
measurement runs in its own process.
"""

import argparse
import importlib
import importlib.util
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bilinear.analysis.descriptors import nearest, unit, write_descriptors
from bilinear.analysis.reduction import Reduction, fit_reduction
from bilinear.analysis.search import KINDS, index_of, lists_of, open_search
from bilinear.analysis.shards import Collection
from bilinear.cli._extraction import SAMPLE
from bilinear.data.images import Preprocessing

from . import machine
from .measure import Spread, in_new_process, peak
from .report import table, write

MANY, IMAGES = 10_000_000, 20_000
LENGTH, SIZE = 4096, 512
"""Values of a descriptor of the model (64 channels), and after its reduction."""
CENTERS = 1000
QUERIES = 20


def cpu_time(run: Callable[[], object]) -> float:
    """CPU seconds of one run, of all threads together."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def rows(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Points around the same centers, whose noise is as long as the distance between centers."""
    centers = np.random.default_rng(0).standard_normal((CENTERS, size), np.float32)
    noise = rng.standard_normal((count, size), np.float32)
    return unit(centers[rng.integers(0, CENTERS, count)] + noise)


def extraction(folder: Path, framework: str) -> dict[str, Any]:
    """CPU seconds and bytes for each image of `bilinear descriptors`, without its start."""
    from bilinear.cli import run  # noqa: PLC0415 - imported in its own process

    namespace = importlib.import_module(f"bilinear.{framework}")
    model = namespace.BCNN("resnet18", 10, projection=64)
    namespace.save(model, folder / "m.safetensors", preprocessing=Preprocessing(224, 256))
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((500, 375))
    seconds = []
    for name, count in {"few": 32, "many": 128}.items():
        (folder / name).mkdir()
        for k in range(count):
            picture.save(folder / name / f"{k}.jpg")
        words = ["descriptors", "m.safetensors", name, f"{name}.npy", "--framework", framework]
        paths = [str(folder / word) if word in {*words[1:4]} else word for word in words]
        seconds.append(cpu_time(lambda paths=paths: run(paths)))
    stored = sum((folder / f"many.npy{end}").stat().st_size for end in ("", ".json"))
    return {"time": (seconds[1] - seconds[0]) / 96, "size": stored / 128}


def reduction() -> dict[str, Any]:
    """Seconds to fit a reduction to a sample and to reduce an image; bytes to fit it."""
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}

    def batches() -> Iterator[np.ndarray]:
        """Two blocks; the second takes as long as all others."""
        for _ in range(4):
            batch = rows(SIZE, LENGTH, rng)
            found["last"] = time.process_time()
            yield batch

    def fit() -> None:
        mean, weight, _, _ = fit_reduction(batches(), SIZE)
        found["fit"] = (time.process_time() - found["last"]) * SAMPLE / (2 * SIZE)
        found["reduction"] = mean, weight

    memory = peak(fit)
    mean, weight = found["reduction"]
    reduce = Reduction(mean, weight, "", "")
    batch = rows(32, LENGTH, rng)
    times = [cpu_time(lambda: reduce(batch).astype(np.float16)) for _ in range(20)]
    return {"fit": found["fit"], "memory": memory, "time": Spread.of(times).median / 32}


def write_rows(path: Path, count: int) -> dict[str, Any]:
    """Write reduced rows; return seconds and bytes for each."""
    rng, seconds = np.random.default_rng(2), 0.0
    with write_descriptors(path, SIZE, model="m", sha256="0" * 64, reduction="1" * 64) as writer:
        for start in range(0, count, 1000):
            paths = [f"photos/class-{k % 200:03d}/{k:08d}.jpg" for k in range(start, start + 1000)]
            batch = rows(1000, SIZE, rng)
            seconds += cpu_time(lambda b=batch, p=paths: writer.append(b, p, [-1] * len(p)))
    stored = sum(file.stat().st_size for file in path.parent.iterdir())
    return {"time": seconds / count, "size": stored / count}


def search(path: Path, kind: str) -> dict[str, Any]:
    """Build an index, or none if `kind` is empty; time queries."""
    collection, found = Collection(path), {"build": 0.0, "size": 0.0, "recall": 1.0, "memory": 0}
    rng, exact = np.random.default_rng(3), kind == ""
    queries = rows(QUERIES, SIZE, rng)

    def find(query: np.ndarray) -> object:
        return nearest(collection, query, 10) if exact else index.nearest(collection, query, 10)

    if not exact:

        def build() -> None:
            begin = time.process_time()
            open_search(collection, kind, lambda line: None)
            found["build"] = (time.process_time() - begin) / len(collection)

        found["memory"] = peak(build)
        index = open_search(collection, kind)
        files = index_of(path, kind).iterdir()
        found["size"] = sum(file.stat().st_size for file in files) / len(collection)
        found["recall"], found["effort"] = index.recall, index.effort
    find(queries[0])
    found["query"] = Spread.of([cpu_time(lambda q=q: find(q)) for q in queries]).median
    found["query memory"] = peak(lambda: find(queries[0]))
    return found


def growth(kind: str, count: int) -> float:
    """How much longer a query takes among `MANY` rows: rows compared, or steps in the graph."""
    if kind == "hnsw":
        return float(np.log(MANY) / np.log(count))
    if kind == "ivf":
        lists = [lists_of(n, min(n, 2**25 // SIZE)) for n in (MANY, count)]
        return MANY / lists[0] / (count / lists[1])
    return MANY / count


def duration(seconds: float) -> str:
    """Seconds as text, in the largest unit in which the value is at least 1."""
    units = {"days": 86400, "hours": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}
    name = next((name for name, unit in units.items() if seconds >= unit), "µs")
    return f"{seconds / units[name]:.3g} {name}"


def tables(found: dict[str, Any], count: int) -> list[str]:
    """Steps of the descriptors for each image, then the search."""
    reduced = found["reduction"]
    steps = {
        f"`descriptors`: ResNet18, 224 × 224 pixels, {LENGTH:,} float32": found["extraction"],
        f"reduction to {SIZE} values": {"time": reduced["time"], "size": 0},
        f"file of {SIZE} float16 values, path and label": found["rows"],
        **{
            f"index `{kind}`": {"time": found[kind]["build"], "size": found[kind]["size"]}
            for kind in KINDS
        },
    }
    head = "step", "CPU time per image", "bytes per image", "10 million images: CPU time", "size"
    body = (
        (
            name,
            duration(step["time"]),
            f"{step['size']:,.0f}",
            duration(MANY * step["time"]),
            f"{MANY * step['size'] / 2**30:,.1f} GiB",
        )
        for name, step in steps.items()
    )
    first = table(head, body)
    head = (
        "search",
        "CPU time of a query",
        "among 10 million images",
        "recall",
        "memory to build",
        "memory of a query",
    )
    body = (
        (
            f"`--index {kind}`" if kind else "exact, NumPy",
            duration(row["query"]),
            duration(row["query"] * growth(kind, count)),
            f"{row['recall']:.1%}",
            f"{row['memory'] / 2**20:,.0f} MiB",
            f"{row['query memory'] / 2**20:,.0f} MiB",
        )
        for kind, row in ((kind, found[kind]) for kind in ("", *KINDS))
    )
    second = table(head, body)
    needs = (
        f"{duration(reduced['fit'])} of CPU time and {reduced['memory'] / 2**20:,.0f} MiB of memory"
    )
    fit = f"To fit a reduction to {SAMPLE:,} descriptors takes {needs}."
    return [*first, "", fit, "", *second]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES, help="rows that are searched")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    given = parser.parse_args(words)
    os.environ |= machine.NO_GPU
    framework = next(name for name in machine.PACKAGES if importlib.util.find_spec(name))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        found["extraction"] = in_new_process(extraction, path, framework)
        found["reduction"] = in_new_process(reduction)
        (path / "rows").mkdir()
        found["rows"] = in_new_process(write_rows, path / "rows" / "f.npy", given.images)
        for kind in ("", *KINDS):
            found[kind] = in_new_process(search, path / "rows" / "f.npy", kind)
    packages = framework, "faiss-cpu", "scikit-learn", "numpy"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    where = f"Machine: {machine.processor()}, {os.cpu_count()} cores."
    rows_of = f"{given.images:,} rows of {SIZE} values."
    asked = [] if given.images == IMAGES else ["--images", str(given.images)]
    command = shlex.join(["python", "-m", "benchmarks.retrieval", *asked])
    head = f"{where} Versions: {versions}. Search: {rows_of} Command: `{command}`."
    lines = [head, "", *tables(found, given.images)]
    print("\n".join(lines), flush=True)
    if given.write:
        write(given.write, "retrieval", lines)


if __name__ == "__main__":
    main()
