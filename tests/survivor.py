"""A process whose children train and are killed: ``python -m tests.survivor torch 20 folder``.

It imports the framework once and computes nothing itself, so that children begin within moments.
Each run of `folder` is another fate; at the end the last line says what happened, as JSON.
"""

import functools
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

from bilinear.train import Recipe, train

from .linear import Linear
from .training import data, engine, linear_recipe, recipe

CODES = {"finished": 0, "failed": 1, "interrupted": 130}
QUICK = 1 / 50
"""Seconds, about those of a step with its state: how long after a sign a child lives at most."""


def long(of: Recipe) -> Recipe:
    """Twice the epochs: 24 or 30 steps, of which the killed ones are done again."""
    return replace(of, phases=tuple(replace(p, epochs=2 * p.epochs) for p in of.phases))


def import_engine(framework: str) -> None:
    """With all that children would otherwise import at their first step, each of them anew."""
    importlib.import_module(f"bilinear.train.engines.{framework}")
    if framework == "torch":
        importlib.import_module("torch._dynamo")


def loop(framework: str) -> Callable[[Path], object]:
    """What goes on with the run of a folder, in a framework or on a network of NumPy."""
    if framework == "numpy":
        whole = long(linear_recipe())
        return lambda run: train(whole, Linear(), *data(), run, resume=True, save_every=1)
    import_engine(framework)
    whole = long(recipe())
    made = functools.partial(engine, framework, whole)
    return lambda run: train(whole, made(), *data(), run, resume=True, save_every=1)


def maps_of(run: Path) -> Path:
    """The cache of a run that has one; of its own, so that every run computes its maps."""
    return run.parent / "maps" / run.name


def signs(run: Path) -> int:
    """How far a run is: lines of its metrics, and files and folders of its cache."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().count(b"\n") if path.exists() else 0
    return lines + sum(len(names) + len(files) for _, names, files in os.walk(maps_of(run)))


class Runs:
    """The runs of a folder, each of which `work` goes on with until it ends."""

    def __init__(self, work: Callable[[Path], object], folder: Path) -> None:
        self.work, self.folder = work, folder

    def child(self, name: str, prepare: Callable[[], None] = lambda: None) -> int:
        """Its process, which goes on with a run until it ends."""
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

    def after(self, name: str, more: int, process: int) -> int | None:
        """Wait until a child gave so many signs more; how it ended, if it did before."""
        until = signs(self.folder / name) + more
        while signs(self.folder / name) < until:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        return None


def end(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed(runs: Runs, kills: int, least: int = 0, most: int = 2) -> int:
    """How many children were killed, each at a random point; -1 if one ended by itself, wrongly.

    They go on with one run until it is finished, and then with another. Each gives at `least`
    and at `most` so many signs more than were there before, or a few beyond.
    """
    rng, count, number = np.random.default_rng(0), 0, 0
    while True:
        name = f"killed-{number}"
        process = runs.child(name)
        code = (
            runs.after(name, int(rng.integers(least, most + 1)), process)
            if count < kills
            else end(process)
        )
        if code is None:
            time.sleep(float(rng.uniform(0, QUICK)))
            os.kill(process, signal.SIGKILL)
            code = end(process)
        if code == -signal.SIGKILL:
            count += 1
        elif code != CODES["finished"]:
            return -1
        elif count == kills:
            return count
        else:
            number += 1


def interrupted(runs: Runs) -> list[int]:
    """How a child ends after Ctrl-C, and how the one that goes on does."""
    process = runs.child("interrupted")
    runs.after("interrupted", 5, process)
    os.kill(process, signal.SIGINT)
    return [end(process), end(runs.child("interrupted"))]


def full(runs: Runs, name: str, lines: int) -> list[int]:
    """The same of a disk that gets full after so many lines of the metrics."""
    process = runs.child(name)
    runs.after(name, lines, process)
    os.kill(process, signal.SIGKILL)
    end(process)
    limit = max(1000, (runs.folder / name / "metrics.jsonl").stat().st_size + 30)
    return [end(runs.child(name, lambda: _limit(limit))), end(runs.child(name))]


def _limit(size: int) -> None:
    """Writing beyond it fails as on a full disk: EFBIG for ENOSPC."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    framework, kills, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    runs = Runs(loop(framework), folder)
    result: dict[str, Any] = {"whole": end(runs.child("whole")), "killed": killed(runs, kills)}
    if framework in {"numpy", "torch"}:
        result["interrupted"] = interrupted(runs)
    if framework == "numpy":  # the state is larger than the metrics only at first
        result |= {"state": full(runs, "state", 2), "metrics": full(runs, "metrics", 25)}
    print(json.dumps(result))
