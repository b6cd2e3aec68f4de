"""Train the NumPy engine in child processes and kill them: ``python -m tests.survivor 20 folder``.

`folder` receives one run for each way to end; the last line of stdout reports the results as JSON.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bilinear.train import train

from .linear import Linear
from .training import data, linear_recipe

CODES = {"finished": 0, "failed": 1, "interrupted": 130}
QUICK = 1 / 50
"""Seconds, about the time of a step: a child is killed at most this long after a sign of life."""


def import_engine(framework: str) -> None:
    """In the parent, so that children start quickly; also what they import at the first step."""
    importlib.import_module(f"bilinear.train.engines.{framework}")
    if framework == "torch":
        importlib.import_module("torch._dynamo")


def train_linear(run: Path) -> object:
    """Continue a run of 30 steps."""
    whole = linear_recipe()
    whole = replace(whole, phases=tuple(replace(p, epochs=2 * p.epochs) for p in whole.phases))
    return train(whole, Linear(), *data(), run, resume=True, save_every=1)


def maps_of(run: Path) -> Path:
    """The feature cache of a run; no two runs share one, so that each computes its own."""
    return run.parent / "maps" / run.name


def progress(run: Path) -> int:
    """Progress of a run: lines of its metrics plus files and folders of its cache."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().count(b"\n") if path.exists() else 0
    return lines + sum(len(names) + len(files) for _, names, files in os.walk(maps_of(run)))


class Runs:
    """The runs in a folder, each continued by `work`."""

    def __init__(self, work: Callable[[Path], object], folder: Path) -> None:
        self.work, self.folder = work, folder

    def child(self, name: str, prepare: Callable[[], None] = lambda: None) -> int:
        """Fork a process that continues a run to its end; returns its id."""
        if process := os.fork():
            return process
        code = CODES["failed"]
        try:
            prepare()
            self.work(self.folder / name)
            code = CODES["finished"]
        except KeyboardInterrupt:
            code = CODES["interrupted"]
        except SystemExit as error:
            code = error.code
        except OSError as error:
            (self.folder / f"{name}.txt").write_text(f"{error}")
        finally:
            sys.stderr.flush()
            os._exit(code)

    def wait_for_progress(self, name: str, more: int, process: int) -> int | None:
        """Wait until a run has progressed by `more`; the exit code if its child ended before."""
        until = progress(self.folder / name) + more
        while progress(self.folder / name) < until:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        return None


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_children(runs: Runs, kills: int, least: int = 0, most: int = 2) -> int:
    """Kill children at random points; returns their number, or -1 if a child failed by itself.

    The children continue one run until it is finished, then another. Each one progresses by a
    random amount from `least` to `most` before it is killed, or slightly more.
    """
    rng, count, number = np.random.default_rng(0), 0, 0
    while True:
        name = f"killed-{number}"
        process = runs.child(name)
        code = (
            runs.wait_for_progress(name, int(rng.integers(least, most + 1)), process)
            if count < kills
            else wait(process)
        )
        if code is None:
            time.sleep(float(rng.uniform(0, QUICK)))
            os.kill(process, signal.SIGKILL)
            code = wait(process)
        if code == -signal.SIGKILL:
            count += 1
        elif code != CODES["finished"]:
            return -1
        elif count == kills:
            return count
        else:
            number += 1


def interrupt_child(runs: Runs) -> list[int]:
    """Exit codes of a child after Ctrl-C, and of the child that continues its run."""
    process = runs.child("interrupted")
    runs.wait_for_progress("interrupted", 5, process)
    os.kill(process, signal.SIGINT)
    return [wait(process), wait(runs.child("interrupted"))]


def fill_disk(runs: Runs, name: str, lines: int) -> list[int]:
    """The same for a disk that becomes full after so many lines of the metrics."""
    process = runs.child(name)
    runs.wait_for_progress(name, lines, process)
    os.kill(process, signal.SIGKILL)
    wait(process)
    limit = max(1000, (runs.folder / name / "metrics.jsonl").stat().st_size + 30)
    return [wait(runs.child(name, lambda: _limit(limit))), wait(runs.child(name))]


def _limit(size: int) -> None:
    """Make writes beyond `size` fail as on a full disk, with EFBIG in place of ENOSPC."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    kills, folder = int(sys.argv[1]), Path(sys.argv[2])
    runs = Runs(train_linear, folder)
    result: dict[str, Any] = {
        "whole": wait(runs.child("whole")),
        "killed": kill_children(runs, kills),
        "interrupted": interrupt_child(runs),
        # only early in a run is the state larger than the metrics
        "state": fill_disk(runs, "state", 2),
        "metrics": fill_disk(runs, "metrics", 25),
    }
    print(json.dumps(result))
