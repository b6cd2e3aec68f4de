"""Train the NumPy engine in child processes and kill them: ``python -m tests.survivor 20 folder``.

`folder` receives one run for each way to end; the last line of stdout reports the results as JSON.
"""

import importlib
import json
import os
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

    def child(self, name: str) -> int:
        """Fork a process that continues a run to its end; returns its id."""
        if process := os.fork():
            return process
        code = CODES["failed"]
        try:
            self.work(self.folder / name)
            code = CODES["finished"]
        except KeyboardInterrupt:
            code = CODES["interrupted"]
        except SystemExit as error:
            code = error.code
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


if __name__ == "__main__":
    kills, folder = int(sys.argv[1]), Path(sys.argv[2])
    runs = Runs(train_linear, folder)
    result: dict[str, Any] = {
        "whole": wait(runs.child("whole")),
        "killed": kill_children(runs, kills),
        "interrupted": interrupt_child(runs),
    }
    print(json.dumps(result))
