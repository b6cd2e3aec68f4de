"""Training in several processes: ``python -m tests.together folder "kill cached 2" TASK…``.

`torch.distributed` connects them. They are forked, so that PyTorch is imported once. The last line
of stdout is a JSON list with the result of each task.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bilinear.__main__ import main
from bilinear.train import Group, Model, Optimizer, Phase, Processes, Recipe, join, train

from .commanded import CACHED, cache_options, prepare
from .survivor import QUICK, import_engine, progress, wait
from .training import PHASES, data, engine, recipe

HANG = 60
"""Seconds after which processes that should have ended are killed."""

PLAIN = Model("vgg16", taps=("relu1_1",), projection=6, weights=None, dtype="float64")
"""Without BatchNorm layers."""
RECIPES = {
    "options": recipe(
        model=PLAIN,
        phases=(
            PHASES[0],
            Phase("all", (Group("head", 0.0625), Group("all", 2.0**-8, 1e-3)), 1),
            Phase("clipped", (Group("all", 2.0**-8),), 1, Optimizer(clip_norm=0.03125)),
        ),
        ema=0.5,
        accumulate=2,
        label_smoothing=0.125,
        class_weights="balanced",
    ),
    "plain": recipe(phases=PHASES[:1]),
    "adamw": recipe(
        model=PLAIN,
        phases=(
            Phase("all", (Group("head", 2.0**-7), Group("all", 2.0**-12)), 2, Optimizer("adamw")),
        ),
    ),
    "batch norm": recipe(),
}


def train_in(run: Path, of: Recipe, processes: Processes) -> None:
    options = {"processes": processes} if processes.count > 1 else {}
    one = engine("torch", of, **options)
    train(of, one, *data((processes.rank, processes.count)), run, class_counts=[5, 3, 3])


def fork(count: int, work: Callable[[], object]) -> list[int]:
    """Start processes as torchrun does; returns their ids."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    children = []
    for rank in range(count):
        if process := os.fork():
            children.append(process)
            continue
        place = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: f"{value}" for name, value in place.items()})
        code = 1
        try:
            work()
            code = 0
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)  # type: ignore[arg-type]
    return children


def wait_for(children: list[int]) -> list[int]:
    """The exit codes; children that hang are killed."""
    codes, until = {}, time.monotonic() + HANG
    while len(codes) < len(children) and time.monotonic() < until:
        for child in [c for c in children if c not in codes]:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    for child in [c for c in children if c not in codes]:
        os.kill(child, signal.SIGKILL)
        wait(child)
        codes[child] = "hangs"
    return [codes[child] for child in children]


def trajectories(folder: Path, names: list[str], counts: list[int]) -> dict[str, Any]:
    """Exit codes of a run of each recipe in each number of processes."""

    def work() -> None:
        with join("torch", "cpu") as processes:
            train_in(folder / name / f"{count}", RECIPES[name], processes)

    found = {}
    for name in names:
        for count in counts:
            found[f"{name} {count}"] = wait_for(fork(count, work))
    return found


class Command:
    """``bilinear train`` on image files, in two processes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(exist_ok=True)
        place = folder / f"data-{len([*folder.iterdir()])}"
        self.words = [*prepare(place, name), "--framework", "torch", "--workers", "0"]
        self.words += ["--device", "cpu", "--save-every", "1"]

    def start(self, run: str, *more: str, count: int = 2) -> list[int]:
        cache = cache_options(self.folder / run) if self.name == CACHED else []
        sys.argv = ["bilinear", *self.words, *cache, *more, f"{self.folder / run}"]
        return fork(count, main)

    def progressed(self, run: str, more: int, children: list[int]) -> bool:
        """Wait until a run has progressed by `more`; False if a process ended before."""
        until = progress(self.folder / run) + more
        while progress(self.folder / run) < until:
            if any(os.waitid(os.P_PID, c, os.WEXITED | os.WNOHANG | os.WNOWAIT) for c in children):
                return False
            time.sleep(0.001)
        return True

    def kill(self, kills: int) -> dict[str, Any]:
        """Kill one of two processes at random points, until so many runs were hit."""
        found: dict[str, Any] = {"whole": wait_for(self.start("whole")), "ends": []}
        rng, count, number = np.random.default_rng(0), 0, 0
        while count < kills:
            run = f"killed-{number}"
            children = self.start(run)
            if self.progressed(run, int(rng.integers(0, 4)), children):
                time.sleep(float(rng.uniform(0, QUICK)))
                os.kill(children[rng.integers(2)], signal.SIGKILL)
            codes = wait_for(children)
            if codes == [0, 0]:
                number += 1
            else:
                found["ends"].append(codes)
                count += 1
        found["last"] = wait_for(self.start(run))
        return found

    def stop(self, number: int, rank: int) -> list[Any]:
        """Exit codes after a signal to one of two processes, and after resuming."""
        run = signal.Signals(number).name
        children = self.start(run)
        self.progressed(run, 5, children)
        os.kill(children[rank], number)
        return [wait_for(children), wait_for(self.start(run))]


def run_task(folder: Path, task: str) -> Any:
    match task.split():
        case ["trajectories", names, counts]:
            return trajectories(folder, names.split(","), [*map(int, counts.split(","))])
        case ["kill", name, kills]:
            return Command(folder / name, name).kill(int(kills))
        case ["stop", name, number, rank]:
            return Command(folder / name, name).stop(signal.Signals[number], int(rank))


if __name__ == "__main__":
    folder, *tasks = sys.argv[1:]
    import_engine("torch")
    for module in ("cli", "train.tensorboard_log", "train.curves", "train.processes.torch"):
        importlib.import_module(f"bilinear.{module}")
    print(json.dumps([run_task(Path(folder), task) for task in tasks]))
