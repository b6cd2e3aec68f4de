"""Training in several processes or on several devices: tasks of `tests.commanded`.

The processes are forked, so that the framework is imported once.
"""

import importlib
import json
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bilinear.__main__ import main
from bilinear.train import Group, Model, Optimizer, Phase, Processes, join, train

from .commanded import CACHED, cache_options, prepare
from .survivor import QUICK, progress, wait
from .training import CLASSES, PHASES, data, engine, recipe

HANG = 300
"""Seconds after which processes that should have ended are killed."""

PLAIN = Model("vgg16", taps=("relu1_1",), projection=6, weights=None, dtype="float64")
"""Without BatchNorm layers."""
COMPACT = {"name": "CompactBilinearPool", "dim": 16}
LOW_RANK = {"name": "LowRankBilinearPool", "dim": 8, "rank": 4}
ALL = (Phase("all", (Group("all", 2.0**-8, 1e-3),), 1),)
RECIPES = {
    "options": recipe(
        model=PLAIN,
        phases=(
            PHASES[0],
            Phase("all", (Group("head", 0.0625), Group("all", 2.0**-8, 1e-3)), 1),
            Phase("clipped", (Group("all", 2.0**-8),), 1, Optimizer(clip_norm=0.03125)),
        ),
        ema=0.5,
        accumulate=4,
        label_smoothing=0.125,
        class_weights="balanced",
    ),
    "plain": recipe(phases=PHASES[:1]),
    "compact": recipe(model=replace(PLAIN, pool=COMPACT), phases=ALL),
    "low-rank": recipe(model=replace(PLAIN, pool=LOW_RANK), phases=ALL),
    "adamw": recipe(
        model=PLAIN,
        phases=(
            Phase("all", (Group("head", 2.0**-7), Group("all", 2.0**-12)), 2, Optimizer("adamw")),
        ),
    ),
    "normalized": recipe(),
}
FLAGS: dict[str, dict[str, Any]] = {
    "sharded": {"shard_classifier": True},
    "amp": {"amp": "bfloat16"},
}
"""Options of the engine that stand before the name of a recipe, as in ``sharded-adamw``. In one
process there are none."""


def split_flags(name: str) -> tuple[list[str], str]:
    """The flags before the name of a recipe, and the name."""
    flags: list[str] = []
    while (first := name.partition("-"))[0] in FLAGS:
        flags, name = [*flags, first[0]], first[2]
    return flags, name


def train_in(run: Path, framework: str, name: str, processes: Processes, devices: int = 1) -> None:
    flags, name = split_flags(name)
    options: dict[str, Any] = {"devices": devices} if devices > 1 else {}
    if processes.count > 1:
        options = {key: value for flag in flags for key, value in FLAGS[flag].items()}
        options["processes"] = processes
    one: Any = engine(framework, RECIPES[name], **options)
    pipelines = data((processes.rank, processes.count))
    train(RECIPES[name], one, *pipelines, run, class_counts=[5, 3, 3])
    if framework == "torch" and "shard_classifier" in options:
        assert_sharded(one, processes)


def assert_sharded(one: Any, processes: Processes) -> None:
    """This process has some rows of the classifier, and of its optimizer and averages."""
    most, state = -(-CLASSES // processes.count), one.optimizer.state
    for name, parameter in one.model.classifier.named_parameters(prefix="classifier"):
        kept = [parameter.to_local(), *state[one.rows[name]].values(), one.averages.get(name)]
        kept = [x for x in kept if x is not None and x.dim()]
        assert len(kept) > 1
        for x in kept:
            assert len(x) == max(min(CLASSES - processes.rank * most, most), 0)
            row = math.prod(x.shape[1:]) * x.element_size()
            assert x.untyped_storage().nbytes() <= most * row


def fork(count: int, work: Callable[[], object]) -> list[int]:
    """Start processes with the environment variables of each framework; returns their ids."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    children = []
    for rank in range(count):
        if process := os.fork():
            children.append(process)
            continue
        place = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0]}
        task = {"type": "worker", "index": rank}
        place |= {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        place |= {"JAX_COORDINATOR_ADDRESS": cluster["worker"][0], "JAX_NUM_PROCESSES": count}
        place |= {"JAX_PROCESS_ID": rank}
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


def trajectories(
    folder: Path, framework: str, names: list[str], counts: list[int]
) -> dict[str, Any]:
    """Exit codes of a run of each recipe in each number of processes."""

    def work() -> None:
        device = "cpu" if framework == "torch" else None
        with join(framework, device) as processes:
            train_in(folder / "memory" / name / f"{count}", framework, name, processes)

    found = {}
    for name in names:
        for count in counts:
            found[f"{name} {count}"] = wait_for(fork(count, work))
    return found


def on_devices(folder: Path, framework: str, names: list[str], counts: list[int]) -> dict[str, Any]:
    """Exit codes of a run of each recipe in one process, on each number of devices."""

    def work() -> None:
        run = folder / "devices" / name / f"{count}"
        train_in(run, framework, name, Processes(), devices=count)

    found = {}
    for name in names:
        for count in counts:
            found[f"{name} {count}"] = wait_for(fork(1, work))
    return found


def sums(framework: str, count: int) -> list[int]:
    """Exit codes of processes that add exact values, of 64 bits although JAX has 32 here."""

    def work() -> None:
        if framework == "jax":
            importlib.import_module("jax").config.update("jax_enable_x64", False)
        with join(framework) as processes:
            for values in np.array(0.1), np.array([2**53 + 1, -1]), np.array([200, 7], np.uint8):
                total = processes.add(values if processes.rank == 1 else np.zeros_like(values))
                assert total.dtype == values.dtype
                np.testing.assert_array_equal(total, values)

    return wait_for(fork(count, work))


class Command:
    """``bilinear train`` on image files; its runs are in `folder`."""

    def __init__(self, folder: Path, framework: str, name: str) -> None:
        """Args: `name` is one of `RECIPES` or `CACHED`, maybe after ``sharded-``."""
        self.folder = folder
        self.flags, self.name = split_flags(name)
        name = self.name
        data = folder / "data"
        if not data.exists():
            folder.mkdir(parents=True)
            prepare(data, CACHED)
        if name in RECIPES:
            (data / "recipe.json").write_text(RECIPES[name].to_json())
        self.words = ["train", f"{data / 'recipe.json'}", f"{data / 'pictures'}", "--resume"]
        self.words += ["--fraction", "0.34", "--framework", framework]
        self.words += ["--device", "cpu"] if framework == "torch" else []
        self.words += ["--workers", "0", "--save-every", "1"]

    def start(self, run: str, count: int = 2) -> list[int]:
        """Start processes that continue a run; returns their ids."""
        cache = cache_options(self.folder / run) if self.name == CACHED else []
        flags = ["--shard-classifier"] if "sharded" in self.flags and count > 1 else []
        sys.argv = ["bilinear", *self.words, *flags, *cache, f"{self.folder / run}"]
        return fork(count, main)

    def whole(self, counts: list[int]) -> list[list[int]]:
        """Exit codes of an undisturbed run in each number of processes."""
        return [wait_for(self.start(f"whole-{count}", count)) for count in counts]

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
        found: dict[str, Any] = {"ends": []}
        rng, count, number = np.random.default_rng(0), 0, 0
        while count < kills:
            run = f"killed-{number}"
            children = self.start(run)
            if self.progressed(run, int(rng.integers(1, 5)), children):
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

    def stop(self, name: str, rank: int, count: int) -> list[Any]:
        """Exit codes after a signal to one of two processes, and after resuming in `count`."""
        children = self.start(name)
        self.progressed(name, 5, children)
        os.kill(children[rank], signal.Signals[name])
        return [wait_for(children), wait_for(self.start(name, count))]


def run_task(folder: Path, framework: str, task: str) -> Any:
    """A result as JSON of a task such as ``kill options 2``."""
    match task.split():
        case ["trajectories", names, counts]:
            return trajectories(folder, framework, names.split(","), [*map(int, counts.split(","))])
        case ["devices", names, counts]:
            return on_devices(folder, framework, names.split(","), [*map(int, counts.split(","))])
        case ["sums", count]:
            return sums(framework, int(count))
        case [kind, name, *rest]:
            command = Command(folder / name, framework, name)
            match kind, *rest:
                case ["whole", counts]:
                    return command.whole([*map(int, counts.split(","))])
                case ["kill", kills]:
                    return command.kill(int(kills))
                case ["stop", number, rank, count]:
                    return command.stop(number, int(rank), int(count))
