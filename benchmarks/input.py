"""The input pipeline of this project beside Grain's, on the same images.

    pip install grain
    python -m benchmarks.input --write docs/scaling.md     about 4 minutes on two idle cores
    python -m benchmarks.input --images 16 --size 32 --batch-size 4 --rounds 2

Both call the same functions, see `benchmarks.input_pipelines`, so the pipelines differ only in how
the work is divided among processes and what is moved between them.

`images/s` is the rate of decoding after the first batch, in rounds in which the pipelines take
turns, each with new workers. Memory is the largest sum over all processes of the pages of each
process; a page that several processes share counts once (PSS). The last table has the programs of
`benchmarks.input_trials`, which wait 0.2 s for each batch.
"""

import argparse
import importlib.util
import io
import json
import os
import platform
import statistics
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np

from bilinear.data import Batch, Pipeline, open_dataset

from .data import index_of, photographs
from .input_pipelines import EPOCH, OURS, SIDES, Source, epoch_of
from .input_trials import processes_of, trials
from .machine import processor
from .measure import Spread, in_new_process
from .report import MEGABYTE, spread, table, write


def rate(side: str, source: Source, workers: int) -> tuple[float, float]:
    """Images per second after the first batch, and seconds until it.

    Images that are decoded before the first batch arrives, and wait in a buffer, do not count.
    """
    count = source.root / "decoded"
    count.unlink(missing_ok=True)
    begin = time.perf_counter()
    with epoch_of(side, source, workers) as batches:
        next(batches)
        first = last = time.perf_counter()
        decoded = count.stat().st_size
        for _ in batches:
            last = time.perf_counter()
        return (source.images - decoded) / (last - first), first - begin


def throughput(source: Source, counts: Sequence[int], rounds: int) -> list[list[str]]:
    """Rows of rates, with the ratio to ours within a round, and of memory."""
    lines = []
    for workers in counts:
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for turn in range(rounds):
            for side in SIDES[:: 1 - 2 * (turn % 2)]:
                found[side].append(rate(side, source, workers))
        for side in SIDES:
            rates, firsts = zip(*found[side], strict=True)
            pairs = zip(found[side], found[OURS], strict=True)
            ratio = spread(*Spread.of([theirs[0] / ours[0] for theirs, ours in pairs]))
            cells = f"{statistics.median(rates):.1f}", f"{statistics.median(firsts):.2f}"
            memory = "" if workers < max(counts) else _mebibytes(side, source, workers)
            lines.append([f"{workers}", side, *cells, ratio, memory])
    return lines


def _mebibytes(side: str, source: Source, workers: int) -> str:
    return f"{in_new_process(peak_memory, side, source, workers) / MEGABYTE:,.0f}"


def _pss(process: int) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text("utf-8").splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0


def peak_memory(side: str, source: Source, workers: int) -> int:
    """Largest memory of this process and its workers in an epoch, in bytes, in a new session."""
    os.setsid()
    done, largest = threading.Event(), 0

    def sample() -> None:
        nonlocal largest
        while not done.wait(0.05):
            largest = max(largest, sum(map(_pss, processes_of(os.getpid()))))

    thread = threading.Thread(target=sample)
    thread.start()
    rate(side, source, workers)
    done.set()
    thread.join()
    return largest


def checks(side: str, source: Source) -> list[str]:
    """Whether batches are equal to ours, and resume after the third batch, for a row."""
    with source.open() as pipeline:
        expected = list(pipeline.epoch(EPOCH))
    cells = []
    for workers, after in (0, 0), (2, 2), (2, 1):
        with epoch_of(side, source, workers) as batches:
            found = [_copied(next(batches)) for _ in range(3)]
            state = 3 if side == OURS else json.dumps(batches.get_state())
        try:
            with epoch_of(side, source, after, state) as batches:
                found += map(_copied, batches)
            same = len(found) == len(expected) and all(map(_equal, found, expected))
            cells.append("equal" if same else "other batches")
        except Exception as error:
            cells.append(f"{type(error).__name__}: {error}".splitlines()[0][:80])
    return cells


def _copied(batch: Batch) -> Batch:
    """Grain's arrays are in shared memory, of which a system has little."""
    return Batch(*map(np.array, batch))


def _equal(one: Batch, other: Batch) -> bool:
    return all(map(np.array_equal, one, other))


def shards(source: Source, rounds: int) -> str:
    """A sentence that compares WebDataset shards with the files that are in them."""
    index = index_of(source.root, source.images)
    folder = source.root / "shards"
    folder.mkdir()
    for start in range(0, source.images, 100):
        with tarfile.open(folder / f"train-{start:06d}.tar", "w:") as archive:
            for item in index.items[start : start + 100]:
                archive.add(source.root / item.path, item.path)
                label = tarfile.TarInfo(f"{Path(item.path).stem}.cls")
                label.size = len(text := f"{item.label}".encode())
                archive.addfile(label, io.BytesIO(text))
    opened = [_cpu_time(lambda: open_dataset(folder, check_counts=False)) for _ in range(5)]
    ours = source.open()
    inside = open_dataset(folder, check_counts=False)
    rates = []
    for _ in range(rounds):
        seconds = []
        for one in index, inside:
            pipeline = Pipeline(
                one, batch_size=source.batch_size, preprocessing=ours.decoder.preprocessing
            )
            seconds.append(_cpu_time(lambda p=pipeline: [None for _ in p.epoch(EPOCH)]))
        rates.append(seconds[0] / seconds[1])
    return (
        f"The same images in WebDataset shards, read without workers: {spread(*Spread.of(rates))} "
        f"of the rate of files. To open the data set takes "
        f"{1e6 * min(opened) / source.images:.0f} µs of CPU time for each image."
    )


def _cpu_time(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--size", type=int, default=448, help="of a crop, in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", type=Path, help="a Markdown file with the section `input`")
    given = parser.parse_args()
    if importlib.util.find_spec("grain") is None:
        parser.error("the comparison needs Grain, not installed here; pip install grain")
    with tempfile.TemporaryDirectory() as folder:
        source = Source(Path(folder), given.images, given.size, given.batch_size)
        photographs(source.root, given.images, 500, 375)
        lines = report(source, given.workers, given.rounds)
    print("\n".join(lines))
    if given.write:
        write(given.write, "input", lines)


def report(source: Source, counts: Sequence[int], rounds: int) -> list[str]:
    """All tables, as lines of Markdown."""
    packages = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("grain", "numpy", "pillow")
    )
    sizes = f"{source.images} JPEGs of 500 × 375 pixels, crops of {source.size}"
    lines = [
        f"Machine: {processor()}, {os.cpu_count()} cores. "
        f"Versions: Python {platform.python_version()}, {packages}. "
        f"Images: {sizes}, batches of {source.batch_size}, {rounds} rounds. "
        "Command: `python -m benchmarks.input`.",
        "",
    ]
    head = (
        "workers",
        "pipeline",
        "images/s",
        "first batch, s",
        "÷ ours (quartiles)",
        "peak memory, MiB",
    )
    lines += [*table(head, throughput(source, counts, rounds)), ""]
    small = source._replace(images=min(source.images, 64), size=32, batch_size=4)
    head = "pipeline", "resumed, 0 workers", "resumed, 2 workers", "2 workers, resumed with 1"
    lines += [*table(head, ([side, *checks(side, small)] for side in SIDES)), ""]
    lines += [*table(("event", "pipeline", "what happens"), trials(small)), ""]
    return [*lines, shards(source, rounds)]


if __name__ == "__main__":
    main()
