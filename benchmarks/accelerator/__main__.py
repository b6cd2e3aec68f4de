"""Check PyTorch and JAX on a GPU within some minutes, and write tables after every result.

    python -m benchmarks.accelerator --out DIR                  on a GPU, 8 minutes
    python -m benchmarks.accelerator --out DIR --device cpu --minutes 1     a rehearsal in small
    python -m benchmarks.accelerator --out DIR --part speed --framework torch --operator outer_pool

It needs a checkout, one or both frameworks, pytest and Hypothesis. Each part runs in a process for
each framework, which is ended at its time limit. What fails or does not fit is in the tables of
DIR/accelerator.md and in DIR/accelerator.json; messages of the frameworks are in
DIR/accelerator.log.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..calls import LAYERS, OPERATORS
from ..machine import NO_GPU, processor
from . import audit, machine, parity, report, speed, training

FRAMEWORKS = ("torch", "jax")
PARTS = {
    "machine": machine,
    "audit": audit,
    "parity": parity,
    "speed": speed,
    "training": training,
}
WEIGHTS = {"machine": 3, "audit": 4, "parity": 4, "speed": 7, "training": 3}
"""Shares of the time; what a part leaves goes to the following parts."""
TOGETHER = ("audit", "parity")
"""Parts that measure no time, in which the frameworks run at the same time."""
CHILD = (sys.executable, "-m", f"{__package__}.child")
"""The command of a process, followed by its arguments."""
SOFT = 0.9
"""Fraction of its time limit after which a process starts no further item."""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        "python -m benchmarks.accelerator", description=(__doc__ or "").partition("\n")[0]
    )
    found.add_argument("--out", type=Path, required=True, help="results folder")
    found.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    found.add_argument("--minutes", type=float, default=8.0, help="time limit of all parts")
    found.add_argument("--part", nargs="+", choices=PARTS, default=[*PARTS])
    found.add_argument("--framework", nargs="+", choices=FRAMEWORKS, default=[*FRAMEWORKS])
    found.add_argument(
        "--operator", nargs="+", choices=(*OPERATORS, *LAYERS), default=[], help="only these"
    )
    return found


def main(words: Sequence[str] | None = None) -> None:
    given = parser().parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    words = sys.argv[1:] if words is None else words
    found: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.accelerator", *words]),
        "machine": _machine(given.device),
        "parts": {},
    }
    end = time.time() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as cache, (given.out / "accelerator.log").open("w") as log:
        for part in [part for part in PARTS if part in given.part]:
            rest = sum(WEIGHTS[p] for p in PARTS if p in given.part and p not in found["parts"])
            of = found["parts"].setdefault(part, {})
            until = time.time() + (end - time.time()) * WEIGHTS[part] / rest
            together = part in TOGETHER
            groups = [given.framework] if together else [[one] for one in given.framework]
            for i, group in enumerate(groups):
                stop = time.time() + (until - time.time()) / (len(groups) - i)
                runs = [Run(part, one, given, stop, cache, log) for one in group]
                of |= {run.framework: run.found for run in runs}
                _watch(runs, stop, lambda: report.write(given.out, found, PARTS))
    print((given.out / "accelerator.md").read_text(encoding="utf-8"))


def _machine(device: str) -> str:
    """Processor and Python, and what the driver says of the GPU."""
    found = f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if device == "cpu" or shutil.which("nvidia-smi") is None:
        return found
    query = "--query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm"
    command = ["nvidia-smi", query, "--format=csv,noheader"]
    gpu = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
    return f"{found}; {' '.join(gpu.split())}"


class Run:
    """The process of one part and framework, and what it has found so far."""

    def __init__(
        self,
        part: str,
        framework: str,
        given: argparse.Namespace,
        stop: float,
        cache: str,
        log: IO[str],
    ) -> None:
        self.framework, self.begin = framework, time.time()
        self.found: dict[str, Any] = {"planned": [], "rows": [], "seconds": 0, "end": "running"}
        soft = self.begin + SOFT * (stop - self.begin)
        words = [part, framework, given.device, json.dumps(given.operator), str(soft)]
        self.process = subprocess.Popen(
            [*CHILD, *words],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            env=environment(part, given.device, cache),
            start_new_session=True,  # compilers start processes, which end with it
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for row in map(json.loads, lines):
                self.found["planned" if "planned" in row else "rows"] += row.get("planned", [row])

    def running(self) -> bool:
        self.found["seconds"] = round(time.time() - self.begin, 1)
        return self.process.poll() is None

    def finish(self) -> None:
        """End the process if it still runs, and note how it ended."""
        late = self.running()
        if late:
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.reader.join(10)
        if late:
            self.found["end"] = "ended within an item at its time limit"
        elif code:
            self.found["end"] = f"failed with exit code {code}"
        else:
            stopped = "stopped between items at its time limit"
            self.found["end"] = stopped if report.left_out(self.found) else "complete"


def environment(part: str, device: str, cache: str) -> Mapping[str, str]:
    """The variables of a process; JAX finds compiled programs of earlier parts in `cache`."""
    found = {
        **os.environ,
        **(NO_GPU if device == "cpu" else {}),
        "BILINEAR_TEST_DEVICE": device,
        "BILINEAR_TEST_FULL": str(int(device != "cpu")),  # torch.compile with Inductor
        "BILINEAR_TEST_CACHE": cache,
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    return found | ({"JAX_ENABLE_X64": "1"} if part in TOGETHER else {})


def _watch(runs: list[Run], stop: float, write: Callable[[], None]) -> None:
    """Write the results after each row, until all processes have ended or `stop` has come."""
    written = -1
    try:
        while any([run.running() for run in runs]) and time.time() < stop:  # noqa: C419
            if (count := sum(len(run.found["rows"]) for run in runs)) != written:
                write()
                written = count
            time.sleep(0.2)
    finally:
        for run in runs:
            run.finish()
        write()


if __name__ == "__main__":
    main()
