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
from ..training import contents, shared_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

KILLS = 20 if FULL else 4
"""Number of killed processes. `test_cli_survival` kills the command in each framework, also with a
cache and workers."""


@functools.cache
def run_survivor() -> tuple[Path, dict[str, Any]]:
    """The directory with the runs, and the results that `tests.survivor` reports."""
    folder = shared_folder()
    command = sys.executable, "-W", "ignore", "-m", "tests.survivor", str(KILLS), str(folder)
    environment, options = (
        os.environ | {"OMP_NUM_THREADS": "1"},
        {"capture_output": True, "text": True},
    )
    result = subprocess.run(command, timeout=600, check=False, env=environment, **options)
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


def test_killed_and_interrupted_runs_end_as_an_undisturbed_one() -> None:
    folder, seen = run_survivor()
    assert (seen["whole"], seen["killed"], seen["interrupted"]) == (0, KILLS, [130, 0])
    for run in *folder.glob("killed-*"), folder / "interrupted":
        assert contents(run) == contents(folder / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
@pytest.mark.parametrize("file", ["state.safetensors", "metrics.jsonl"])
def test_a_full_disk_is_reported_with_the_file_and_the_run_resumes(file: str) -> None:
    folder, seen = run_survivor()
    run = folder / file.partition(".")[0]
    assert seen[run.name] == [1, 0]
    said = (folder / f"{run.name}.txt").read_text()
    assert "File too large" in said
    assert str(run / file) in said
    assert contents(run) == contents(folder / "whole")
