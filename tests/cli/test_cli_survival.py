"""``bilinear train`` killed or interrupted at random points: resumed runs give identical files."""

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("resource", reason="POSIX only")
pytest.importorskip("tensorboard", reason="the extra cli is absent")

from bilinear.train import NAMED_RECIPES

from ..commanded import CACHED, cache_options, prepare
from ..selection import FULL
from ..subjects import PRESENT
from ..survivor import QUICK, maps_of, progress
from ..together import split_flags
from ..train.test_processes import assert_near
from ..training import contents, shared_folder

KILLS = {
    "torch": dict.fromkeys(NAMED_RECIPES, 2) | {CACHED: 6} if FULL else {CACHED: 2},
    "tensorflow": {"bcnn-two-phase": 1},
    "jax": {"bcnn-two-phase": 1},
}
"""Kills of each recipe: with --full 12 in torch, fewer where each process compiles for seconds."""
ON_DEVICES = (
    "sums 3",
    "trajectories options,adamw,normalized 1,2,4",
    "trajectories compact,low-rank 1,2",
    "devices options,adamw,normalized 2,4",
    "devices compact,low-rank 2",
    "whole options 1,2",
    "kill options 16",
    "stop options SIGUSR1 1 1",
    "whole cached 2",
    "kill cached 4",
    "stop cached SIGTERM 0 2",
)
"""Tasks of the frameworks that train on several devices of a process, too."""
TOGETHER = {
    "torch": ("whole options 1,2", "kill options 1", "whole sharded-options 2"),
    "tensorflow": ("sums 2",),
}
if FULL:
    TOGETHER = {
        "torch": (
            "trajectories options,adamw 1,2,3,4",
            "trajectories plain,normalized 1,2",
            "whole options 1,2,4",
            "kill options 16",
            "stop options SIGUSR1 1 1",
            "whole cached 2",
            "kill cached 4",
            "stop cached SIGTERM 0 2",
            "trajectories sharded-options,sharded-adamw,sharded-plain 2,3,4",
            "trajectories amp-adamw,amp-sharded-adamw 2",
            "whole sharded-options 2,3",
            "kill sharded-options 6",
            "stop sharded-options SIGUSR1 1 1",
            "stop sharded-options SIGTERM 0 3",
            "whole sharded-cached 2",
            "stop sharded-cached SIGTERM 0 2",
        ),
        "tensorflow": ON_DEVICES,
        "jax": (*ON_DEVICES, "trajectories sharded-options 3"),
    }
"""Tasks of `tests.together`, in several processes or on several devices."""
DIFFERENT = ("torch", "trajectories", "normalized")
"""Each process of torch normalizes by its own images in BatchNorm layers that train."""
WITH_ALL = 4 if FULL else 2
"""Interruptions of a command with a cache and a worker, in torch, unless it ends before."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
PYTHON = sys.executable, "-W", "ignore", "-m"


@functools.cache
def run_killed(framework: str) -> tuple[Path, dict[str, Any]]:
    """Run and kill each recipe; return the folder of the runs and what was observed."""
    folder = shared_folder()
    asked = [f"{name}={kills}" for name, kills in KILLS[framework].items()]
    asked += TOGETHER.get(framework, ())
    command = [*PYTHON, "tests.commanded", framework, str(folder), *asked]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=1500, check=False, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    print(result.stderr)  # shown if the test fails
    return folder, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("framework", PRESENT)
def test_a_killed_command_gives_the_files_of_an_uninterrupted_one(framework: str) -> None:
    folder, seen = run_killed(framework)
    for name, kills in KILLS[framework].items():
        assert seen[name] == [0, kills]
        whole = contents(folder / name / "whole")
        assert {"best.safetensors", "curves.png", "metrics.jsonl"} < whole.keys()
        runs = list((folder / name).glob("killed-*"))
        assert runs
        for run in runs:
            assert contents(run) == whole
            assert not incomplete_maps(run)


needs_torch = pytest.mark.skipif("torch" not in PRESENT, reason="runs in one framework")
over_together = pytest.mark.parametrize("framework", [f for f in TOGETHER if f in PRESENT])


@over_together
def test_several_processes_or_devices_train_the_model_of_one(framework: str) -> None:
    """In float64: losses, parameters, momenta and averages, also where a process has no image."""
    folder, seen = run_killed(framework)
    for task in TOGETHER[framework]:
        match task.split():
            case ["sums", count]:
                assert seen[task] == [0] * int(count)
            case ["trajectories" | "devices" as kind, names, counts]:
                for name, count in itertools.product(names.split(","), counts.split(",")):
                    processes = int(count) if kind == "trajectories" else 1
                    assert seen[task][f"{name} {count}"] == [0] * processes
                    runs = folder / "together" / "memory"
                    one = runs / split_flags(name)[1] / "1"
                    of_kind = runs if kind == "trajectories" else folder / "together" / kind
                    run = of_kind / name / count
                    if name.startswith("amp"):
                        assert contents(run) == contents(runs / "amp-adamw" / count)
                    elif count != "1" and (framework, kind, name) == DIFFERENT:
                        with pytest.raises(AssertionError):
                            assert_near(one, run)
                    else:
                        assert_near(one, run)
            case ["whole", name, counts]:
                assert seen[task] == [[0] * int(count) for count in counts.split(",")]
                first = folder / "together" / split_flags(name)[1] / "whole-1"
                for k in counts.split(",") if CACHED not in name else ():  # of float32
                    assert_near(first, folder / "together" / name / f"whole-{k}")


@over_together
def test_a_kill_or_signal_of_one_process_ends_all_and_the_run_resumes(framework: str) -> None:
    """In two processes in the bits of an undisturbed run; no process hangs."""
    folder, seen = run_killed(framework)
    for task in TOGETHER[framework]:
        kind, name, *words = task.split()
        runs = folder / "together" / name
        if kind == "kill":
            ends = seen[task]["ends"]
            assert len(ends) == int(words[0])
            # JAX itself ends the others where process 0 is killed
            known = {2} if framework != "jax" else {2, -signal.SIGABRT}
            codes = {code for codes in ends for code in codes}
            assert {-signal.SIGKILL} < codes <= {-signal.SIGKILL} | known
            assert seen[task]["last"] == [0, 0]
            for run in runs.glob("killed-*"):
                assert contents(run) == contents(runs / "whole-2")
        elif kind == "stop":
            number, rank, count = words[0], int(words[1]), int(words[2])
            stopped, resumed = seen[task]
            assert stopped[rank] == 128 + signal.Signals[number]
            assert stopped[1 - rank] in (2, 130)
            assert resumed == [0] * count
            if count == 2:
                assert contents(runs / number) == contents(runs / "whole-2")
            else:
                assert_near(runs / number, runs / "whole-2")


def incomplete_maps(run: Path) -> list[Path]:
    """Cached feature maps that are incomplete."""
    return [*maps_of(run).glob(".maps-*.tmp")]


def start(words: list[str], run: Path, ready: Callable[[], object]) -> subprocess.Popen[str]:
    """Start the command and wait until `ready` is true or the process has ended."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*PYTHON, "bilinear", *words, *cache_options(run), str(run)]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, **pipes)
    while not ready() and process.poll() is None:
        time.sleep(0.001)
    return process


def progressed(run: Path, more: int) -> Callable[[], bool]:
    """Return a function that tells whether a run has made `more` more signs of progress."""
    until = progress(run) + more
    return lambda: progress(run) >= until


def steps(run: Path) -> int:
    """Number of steps in the metrics file, which a new run writes after it has begun."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b'"event":"step"') if path.exists() else 0


@needs_torch
def test_kills_and_ctrl_c_with_a_cache_and_a_worker(tmp_path: Path) -> None:
    """Whole processes. A worker must not keep the locks of the run or the cache."""
    words = prepare(tmp_path / "data", CACHED)
    words += ["--framework", "torch", "--workers", "1", "--save-every", "1"]
    run, rng = tmp_path / "run", np.random.default_rng(0)
    process = start(words, run, lambda: incomplete_maps(run))  # the worker has not started yet
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert incomplete_maps(run)
    process = start(words, run, lambda: steps(run))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    expected = f"{run} can be resumed at step {steps(run)}", "bilinear: interrupted"
    assert tuple(err.splitlines()[-2:]) == expected
    for _ in range(WITH_ALL - 1):
        process = start(words, run, progressed(run, int(rng.integers(1, 4))))
        time.sleep(float(rng.uniform(0, QUICK)))
        process.kill()
        out, err = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 0), err  # 0: it ended before the kill
    out, err = start(words, run, lambda: True).communicate(timeout=60)
    assert out == f"{run / 'best.safetensors'}\n", err
    assert contents(run) == contents(run_killed("torch")[0] / CACHED / "whole")
    assert not incomplete_maps(run)


@needs_torch
@pytest.mark.parametrize("group", [False, True])
def test_sigterm_leaves_nothing_behind(group: bool, tmp_path: Path) -> None:
    """Sent to the command alone, or to its workers too, as a batch system does."""
    words = prepare(tmp_path / "data", CACHED)
    words += ["--framework", "torch", "--workers", "1"]
    run = tmp_path / "run"
    process = start(words, run, lambda: steps(run))
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, ""), err
    assert err.splitlines()[-1] == "bilinear: terminated"
    assert "leaked" not in err
    assert "Traceback" not in err
    assert not [*tmp_path.rglob("*.tmp")]
    out, err = start(words, run, lambda: True).communicate(timeout=60)
    assert out == f"{run / 'best.safetensors'}\n", err
    assert contents(run) == contents(run_killed("torch")[0] / CACHED / "whole")
