"""A process whose children train and are killed: ``python -m tests.survivor torch 20 folder``.

It imports the framework once and computes nothing itself, so that children begin within moments.
Each run of `folder` is another fate; at the end the last line says what happened, as JSON.
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

import numpy as np

from bilinear.train import Engine, Recipe, train

from .linear import Linear
from .training import data, engine, linear_recipe, recipe

CODES = {"finished": 0, "failed": 1, "interrupted": 130}
QUICK = 1 / 50
"""Seconds, about those of a step with its state: how long after a line a child lives at most."""


def long(of: Recipe) -> Recipe:
    """Twice the epochs: 24 or 30 steps, of which the killed ones are done again."""
    return replace(of, phases=tuple(replace(p, epochs=2 * p.epochs) for p in of.phases))


class Runs:
    def __init__(self, framework: str, folder: Path) -> None:
        self.framework, self.folder = framework, folder
        if framework != "numpy":
            importlib.import_module(f"bilinear.train.engines.{framework}")
        self.recipe = long(linear_recipe() if framework == "numpy" else recipe())

    def engine(self) -> Engine:
        return Linear() if self.framework == "numpy" else engine(self.framework, self.recipe)

    def child(self, name: str, prepare: Callable[[], None] = lambda: None) -> int:
        """Its process, which goes on with a run until it ends."""
        if process := os.fork():
            return process
        code = CODES["failed"]
        try:
            prepare()
            engine = self.engine()
            train(self.recipe, engine, *data(), self.folder / name, resume=True, save_every=1)
            code = CODES["finished"]
        except KeyboardInterrupt:
            code = CODES["interrupted"]
        except OSError as error:
            (self.folder / f"{name}.txt").write_text(f"{error}")
        finally:
            sys.stderr.flush()
            os._exit(code)

    def lines(self, name: str) -> int:
        """Of the metrics, which say how far a run is."""
        path = self.folder / name / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def after(self, name: str, lines: int, process: int) -> int | None:
        """Wait until a child wrote so many lines more; how it ended, if it did before."""
        until = self.lines(name) + lines
        while self.lines(name) < until:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        return None


def end(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed(runs: Runs, kills: int) -> int:
    """How many children of one run were killed, each at a random point, before it was finished."""
    rng, count = np.random.default_rng(0), 0
    while count < kills:
        process = runs.child("killed")
        code = runs.after("killed", int(rng.integers(3)), process)
        if code is None:
            time.sleep(float(rng.uniform(0, QUICK)))
            os.kill(process, signal.SIGKILL)
            code = end(process)
        if code != -signal.SIGKILL:
            return count if code == CODES["finished"] else -1
        count += 1
    return count if end(runs.child("killed")) == CODES["finished"] else -1


def interrupted(runs: Runs) -> list[int]:
    """How a child ends after Ctrl-C, and how the one that goes on does."""
    process = runs.child("interrupted")
    runs.after("interrupted", 5, process)
    os.kill(process, signal.SIGINT)
    return [end(process), end(runs.child("interrupted"))]


def full(runs: Runs) -> list[int]:
    """The same of a disk on which first the metrics, then the state do not fit."""
    process = runs.child("full")
    runs.after("full", 25, process)  # by then the metrics are the largest file
    os.kill(process, signal.SIGKILL)
    end(process)
    folder, codes = runs.folder / "full", []
    limits = (folder / "metrics.jsonl").stat().st_size + 30, 1000
    for limit in limits:
        codes.append(end(runs.child("full", lambda limit=limit: _limit(limit))))
        (runs.folder / "full.txt").rename(runs.folder / f"full-{len(codes)}.txt")
    return [*codes, end(runs.child("full"))]


def _limit(size: int) -> None:
    """Writing beyond it fails as on a full disk: EFBIG for ENOSPC."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    framework, kills, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    runs = Runs(framework, folder)
    result = {"whole": end(runs.child("whole")), "killed": killed(runs, kills)}
    result["interrupted"] = interrupted(runs)
    if framework == "numpy":
        result["full"] = full(runs)
    print(json.dumps(result))
