"""``bilinear train``, killed at random points and interrupted: going on ends with the same bits."""

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
from .training import contents, events

KILLS = {"torch": 2, "tensorflow": 1, "jax": 1}
RECIPES = {"torch": list(NAMED), "tensorflow": ["bcnn-two-phase"], "jax": ["bcnn-two-phase"]}
"""Fewer where each process compiles for seconds."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
PYTHON = sys.executable, "-W", "ignore", "-m"


@pytest.mark.parametrize("framework", PRESENT)
def test_a_killed_command_ends_as_an_undisturbed_one(framework: str, tmp_path: Path) -> None:
    names, kills = RECIPES[framework], KILLS[framework]
    command = [*PYTHON, "tests.commanded", framework, str(kills), str(tmp_path), *names]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {name: [0, kills] for name in names}, (
        result.stderr
    )
    for name in names:
        whole = contents(tmp_path / name / "whole")
        assert {"best.safetensors", "curves.png", "metrics.jsonl"} < whole.keys()
        runs = list((tmp_path / name).glob("killed-*"))
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
    """From its start, with processes that read images, which must not hold on to the run."""
    words = [*prepared(tmp_path / "data", "bcnn-two-phase"), "--framework", "torch"]
    words += ["--workers", "1", "--save-every", "1"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = begun(words, run, 4)
    process.kill()
    process.communicate(timeout=60)
    before = len(events(run, "step"))
    process = begun(words, run, 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    after = len(events(run, "step"))
    assert after > before
    assert err.splitlines()[-2:] == [
        f"{run} can be resumed at step {after}",
        "bilinear: interrupted",
    ]
    for folder in run, whole:
        out, err = begun(words, folder, 0).communicate(timeout=60)
        assert out == f"{folder / 'best.safetensors'}\n", err
    assert contents(run) == contents(whole)
