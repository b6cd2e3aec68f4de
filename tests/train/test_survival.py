"""Runs in real processes that are killed or interrupted, then resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..selection import FULL
from ..training import contents

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

KILLS = 20 if FULL else 4
"""Number of killed processes. `test_cli_survival` kills the command in each framework, also with a
cache and workers."""


def test_killed_and_interrupted_runs_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.survivor", str(KILLS), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    expected = {"whole": 0, "killed": KILLS, "interrupted": [130, 0]}
    assert json.loads(result.stdout.splitlines()[-1]) == expected
    for run in *tmp_path.glob("killed-*"), tmp_path / "interrupted":
        assert contents(run) == contents(tmp_path / "whole")
