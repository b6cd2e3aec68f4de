"""Runs in real processes that are killed, interrupted or out of disk space, then resumed."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..selection import FULL
from ..subjects import PRESENT
from ..training import contents, shared_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

KILLS = {"numpy": 4, "torch": 20 if FULL else 2, "tensorflow": 2, "jax": 2}
"""Number of killed processes; few where each compiles for seconds. `test_cli_survival` kills the
command, also with a cache and workers."""
FRAMEWORKS = ["numpy", *PRESENT]
COMMAND = sys.executable, "-W", "ignore", "-m", "tests.survivor"
over_frameworks = pytest.mark.parametrize("framework", FRAMEWORKS)


@functools.cache
def run_survivor(framework: str) -> tuple[Path, dict[str, Any]]:
    """The directory with the runs, and the results that `tests.survivor` reports."""
    folder = shared_folder()
    result = subprocess.run(
        [*COMMAND, framework, str(KILLS[framework]), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
    )
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


@over_frameworks
def test_a_killed_run_ends_as_an_undisturbed_one(framework: str) -> None:
    folder, seen = run_survivor(framework)
    assert (seen["whole"], seen["killed"]) == (0, KILLS[framework])
    for run in folder.glob("killed-*"):
        assert contents(run) == contents(folder / "whole")


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name in ("numpy", "torch")])
def test_a_run_ends_alike_after_ctrl_c(framework: str) -> None:
    folder, seen = run_survivor(framework)
    assert seen["interrupted"] == [130, 0]
    assert contents(folder / "interrupted") == contents(folder / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
@pytest.mark.parametrize("file", ["state.safetensors", "metrics.jsonl"])
def test_a_full_disk_is_reported_with_the_file_and_the_run_resumes(file: str) -> None:
    folder, seen = run_survivor("numpy")
    run = folder / file.partition(".")[0]
    assert seen[run.name] == [1, 0]
    said = (folder / f"{run.name}.txt").read_text()
    assert "File too large" in said
    assert str(run / file) in said
    assert contents(run) == contents(folder / "whole")
