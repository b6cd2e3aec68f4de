"""``bilinear train``, killed at random points and interrupted: going on ends with the same bits."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("resource", reason="of POSIX")
pytest.importorskip("tensorboard", reason="the extra cli is absent")

from bilinear.train import NAMED

from ..commanded import CACHED, caching, prepared
from ..subjects import PRESENT
from ..survivor import QUICK, maps_of, signs
from ..training import contents, shared_folder

KILLS = {
    "torch": dict.fromkeys(NAMED, 2) | {CACHED: 6},
    "tensorflow": {"bcnn-two-phase": 1},
    "jax": {"bcnn-two-phase": 1},
}
"""Of each recipe: 12 in torch, fewer where each process compiles for seconds."""
WITH_ALL = 4
"""Of a command with a cache and a worker, in torch: that often, unless it ends before."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
PYTHON = sys.executable, "-W", "ignore", "-m"


@functools.cache
def survived(framework: str) -> tuple[Path, dict[str, list[int]]]:
    """The directory with the runs of each recipe, and what was seen of them."""
    folder = shared_folder()
    asked = [f"{name}={kills}" for name, kills in KILLS[framework].items()]
    command = [*PYTHON, "tests.commanded", framework, str(folder), *asked]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    print(result.stderr)  # for a failure
    return folder, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("framework", PRESENT)
def test_a_killed_command_ends_as_an_undisturbed_one(framework: str) -> None:
    folder, seen = survived(framework)
    assert seen == {name: [0, kills] for name, kills in KILLS[framework].items()}
    for name in seen:
        whole = contents(folder / name / "whole")
        assert {"best.safetensors", "curves.png", "metrics.jsonl"} < whole.keys()
        runs = list((folder / name).glob("killed-*"))
        assert runs
        for run in runs:
            assert contents(run) == whole
            assert not half_written(run)


def half_written(run: Path) -> list[Path]:
    """The sets of maps that were not finished."""
    return [*maps_of(run).glob(".maps-*.tmp")]


def begun(words: list[str], run: Path, ready: Callable[[], object]) -> subprocess.Popen[str]:
    """A process of the command, when the run is ready for what is to happen, or at its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*PYTHON, "bilinear", *words, *caching(run), str(run)]
    process = subprocess.Popen(command, env=ENVIRONMENT, **pipes)
    while not ready() and process.poll() is None:
        time.sleep(0.001)
    return process


def farther(run: Path, more: int) -> Callable[[], bool]:
    """Whether a run gave so many signs more than now."""
    until = signs(run) + more
    return lambda: signs(run) >= until


def steps(run: Path) -> int:
    """In the metrics, of which a line may be half there."""
    return (run / "metrics.jsonl").read_bytes().count(b'"event":"step"')


@pytest.mark.skipif("torch" not in PRESENT, reason="one framework will do")
def test_kills_and_ctrl_c_with_a_cache_and_a_worker(tmp_path: Path) -> None:
    """Of whole processes, from their start; a worker must not hold on to the run or the cache."""
    words = prepared(tmp_path / "data", CACHED)
    words += ["--framework", "torch", "--workers", "1", "--save-every", "1"]
    run, rng = tmp_path / "run", np.random.default_rng(0)
    process = begun(words, run, lambda: half_written(run))  # the worker has yet to start
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert half_written(run)
    process = begun(words, run, lambda: steps(run))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    said = f"{run} can be resumed at step {steps(run)}", "bilinear: interrupted"
    assert tuple(err.splitlines()[-2:]) == said
    for _ in range(WITH_ALL - 1):
        process = begun(words, run, farther(run, int(rng.integers(1, 4))))
        time.sleep(float(rng.uniform(0, QUICK)))
        process.kill()
        out, err = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 0), err  # 0: it came to its end before
    out, err = begun(words, run, lambda: True).communicate(timeout=60)
    assert out == f"{run / 'best.safetensors'}\n", err
    assert contents(run) == contents(survived("torch")[0] / CACHED / "whole")
    assert not half_written(run)
