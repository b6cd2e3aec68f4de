"""``bilinear train``, killed at random points and interrupted: going on ends with the same bits."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="of POSIX")
pytest.importorskip("tensorboard", reason="the extra cli is absent")

from bilinear.train import NAMED

from .commanded import prepared
from .subjects import PRESENT
from .training import contents, events, shared_folder

KILLS = {"torch": 2, "tensorflow": 1, "jax": 1}
RECIPES = {"torch": list(NAMED), "tensorflow": ["bcnn-two-phase"], "jax": ["bcnn-two-phase"]}
"""Fewer where each process compiles for seconds."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
PYTHON = sys.executable, "-W", "ignore", "-m"


@functools.cache
def survived(framework: str) -> tuple[Path, dict[str, list[int]]]:
    """The directory with the runs of each recipe, and what was seen of them."""
    folder, names = shared_folder(), RECIPES[framework]
    command = [*PYTHON, "tests.commanded", framework, str(KILLS[framework]), str(folder), *names]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    print(result.stderr)  # for a failure
    return folder, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("framework", PRESENT)
def test_a_killed_command_ends_as_an_undisturbed_one(framework: str) -> None:
    folder, seen = survived(framework)
    assert seen == {name: [0, KILLS[framework]] for name in RECIPES[framework]}
    for name in seen:
        whole = contents(folder / name / "whole")
        assert {"best.safetensors", "curves.png", "metrics.jsonl"} < whole.keys()
        runs = list((folder / name).glob("killed-*"))
        assert runs
        for run in runs:
            assert contents(run) == whole


def begun(words: list[str], run: Path, lines: int) -> subprocess.Popen[str]:
    """A process of the command, when the run's metrics have so many lines."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*PYTHON, "bilinear", *words, str(run)]
    process = subprocess.Popen(command, env=ENVIRONMENT, **pipes)
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    return process


@pytest.mark.skipif("torch" not in PRESENT, reason="one framework will do")
def test_ctrl_c_after_a_kill_of_the_process_itself(tmp_path: Path) -> None:
    """From its start, with a process that reads images, which must not hold on to the run."""
    words = prepared(tmp_path / "data", "bcnn-two-phase")
    words += ["--framework", "torch", "--workers", "1", "--save-every", "1"]
    run = tmp_path / "run"
    process = begun(words, run, 3)
    process.kill()
    process.communicate(timeout=60)
    before = len(events(run, "step"))
    process = begun(words, run, 8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    after = len(events(run, "step"))
    assert after > before
    said = f"{run} can be resumed at step {after}", "bilinear: interrupted"
    assert tuple(err.splitlines()[-2:]) == said
    out, err = begun(words, run, 0).communicate(timeout=60)
    assert out == f"{run / 'best.safetensors'}\n", err
    assert contents(run) == contents(survived("torch")[0] / "bcnn-two-phase" / "whole")
