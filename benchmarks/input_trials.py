"""What happens to a program that reads batches, when it or its workers are sent signals.

python -m benchmarks.input_trials SIDE WORKERS ROOT IMAGES SIZE BATCH_SIZE     such a program
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from .input_pipelines import EPOCH, SIDES, Source, epoch_of


def processes_of(session: int) -> list[int]:
    """The running processes of a session."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, number = file.read_text("utf-8", "replace").rpartition(")")[2].split()[:4]
            if int(number) == session and state != "Z":
                found.append(int(file.parent.name))
    return found


def experiment(side: str, source: Source, workers: int, act: Callable[[int], object]) -> str:
    """Run a program, do something to it after its second batch, and describe how it ended."""
    words = [sys.executable, "-m", __spec__.name, side, f"{workers}", *map(str, source)]
    before = _shared_memory()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        program = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        assert program.stdout is not None
        for _ in range(2):
            program.stdout.readline()
        act(program.pid)
        begin = time.perf_counter()
        try:
            code = program.wait(20)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.perf_counter() - begin
        time.sleep(1)
        left = processes_of(program.pid)
        segments = _shared_memory() - before
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        for segment in segments:
            segment.unlink(missing_ok=True)
        errors.seek(0)
        lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
    ended = "still runs after 20 s" if code is None else f"exit code {code} after {seconds:.1f} s"
    found = [line for line in lines if re.match(r"[\w.]+(Error|Interrupt)\b", line)]
    text = re.sub(r"(?<=\s)/\S*/", "…/", found[-1][:100]) if found else ""
    last = f", the last error `{text}`" if found else ""
    after = f"{len(left)} processes and {len(segments)} arrays in shared memory are left after 1 s"
    return f"{ended}; {len(lines)} lines on stderr{last}; {after}"


def _shared_memory() -> set[Path]:
    """The segments of Python's `SharedMemory`."""
    return {*Path("/dev/shm").glob("psm_*")}


def main(side: str, workers: str, root: str, *numbers: str) -> None:
    """Print a line for each batch."""
    images, size, batch_size = map(int, numbers)
    with epoch_of(side, Source(Path(root), images, size, batch_size), int(workers)) as batches:
        for batch in batches:
            print(len(batch.labels), flush=True)
            time.sleep(0.2)


def _kill_worker(program: int) -> None:
    """Kill one worker process of a program, whose command line is that of multiprocessing."""
    for process in processes_of(program):
        words = Path(f"/proc/{process}/cmdline").read_bytes()
        if process != program and b"spawn_main" in words:
            os.kill(process, signal.SIGKILL)
            return


def _signal_workers(program: int) -> None:
    """Send SIGUSR1, as clusters do before the end of a job, to all processes but the first."""
    for process in {*processes_of(program)} - {program}:
        os.kill(process, signal.SIGUSR1)


def trials(source: Source) -> Iterator[list[str]]:
    """Rows of the experiments, with two workers."""
    acts: dict[str, Callable[[int], object]] = {
        "Ctrl-C": lambda program: os.killpg(program, signal.SIGINT),
        "SIGKILL to a worker": _kill_worker,
        "SIGKILL to the program": lambda program: os.kill(program, signal.SIGKILL),
        "SIGUSR1 to the workers": _signal_workers,
    }
    for name, act in acts.items():
        for side in SIDES:
            yield [name, side, experiment(side, source, 2, act)]
    order = np.concatenate(source.open().batch_indices(EPOCH))
    broken = source.root / f"{order[len(order) // 2]}.jpg"
    shutil.copy(broken, whole := broken.with_suffix(".whole"))
    broken.write_bytes(b"no image")
    for side in SIDES:
        yield ["an image that cannot be read", side, experiment(side, source, 2, lambda _: None)]
    whole.replace(broken)


if __name__ == "__main__":
    main(*sys.argv[1:])
