"""Files of a run that another program changed are refused by their names."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.train.progress import decode_progress
from bilinear.train.run import Progress, Run

from ..linear import STEPS, Linear, finish
from ..training import contents, data, linear_recipe
from .test_resuming import Stopping


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)
    state = tmp_path / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="complete safetensors file"):
        finish(tmp_path, resume=True)
    state.write_bytes(whole.replace(b'\\"history\\"', b'\\"History\\"'))
    with pytest.raises(ValueError, match="the state must be one of this version"):
        finish(tmp_path, resume=True)


def test_a_state_of_another_version_is_refused() -> None:
    """One without any of the values of this version."""
    values = asdict(Progress("checksum"))
    assert decode_progress("resume", json.dumps(values)) == Progress("checksum")
    for name in values:
        rest = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ValueError, match="the state must be one of this version"):
            decode_progress("resume", json.dumps(rest))


def test_a_flipped_bit_in_any_file_that_resuming_reads_is_refused(tmp_path: Path) -> None:
    """Before the second phase, which starts from the best weights of the first one."""
    with pytest.raises(InterruptedError):
        finish(tmp_path, pipelines=(Stopping(6), data()[1]))
    rng = np.random.default_rng(0)
    for name in "state.safetensors", "metrics.jsonl", "phases/1-head.safetensors":
        path = tmp_path / name
        whole = path.read_bytes()
        for bit in rng.integers(8 * len(whole), size=20):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match=path.name if "state" not in name else "resume"):
                finish(tmp_path, resume=True)
        path.write_bytes(whole)
    finish(tmp_path, resume=True)


@pytest.mark.parametrize(
    "position",
    [{"phase": 3}, {"epoch": 1}, {"epoch": 9, "passes": 9, "history": 9 * [[1.0, 0.5]]}],
    ids=str,
)
def test_a_state_outside_the_phases_is_refused(position: dict[str, Any], tmp_path: Path) -> None:
    """With a correct checksum. It would train until it is stopped."""
    finish(tmp_path)
    run = Run(tmp_path)
    with run.lock():
        run.save(Progress(linear_recipe().checksum(), **position), Linear().tensors(), {})
    with pytest.raises(ValueError, match="must be in one of the phases of the recipe; got epoch"):
        finish(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("environment.json", b"", "must be a JSON file; got Expecting value"),
        ("environment.json", b"[]", "must have a JSON object; got list"),
        ("environment.json", b"\xff{}", "must be a JSON file"),
        ("environment.json", b'{"python": NaN}', "must be a JSON file; got NaN is not a finite"),
        ("environment.json", 100_000 * b"[", "must be a JSON file; got values that are nested"),
        ("metrics.jsonl", b"", "must begin with the metrics of the run; got 0 other bytes"),
        ("metrics.jsonl", 4000 * b"{}\n", "must begin with the metrics of the run; got"),
        ("state.safetensors", b"", "complete safetensors file"),
    ],
    ids=lambda value: f"{value}"[:40],
)
def test_a_foreign_file_is_refused_by_its_name(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    finish(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}.* {message}"):
        finish(tmp_path, resume=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
@pytest.mark.parametrize("name", ["environment.json", "metrics.jsonl", "state.safetensors"])
def test_a_fifo_is_refused(name: str, tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=f"{name}: the path must name a regular file; got a FIFO"):
        finish(tmp_path, resume=True)


def test_a_line_of_the_metrics_that_is_no_event_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)
    run = Run(tmp_path)
    events = run.read_metrics()
    for line in b"", b"{}", b'{"event": []}', b'{"event":"step","phase":3}', 100_000 * b"[":
        run.metrics.write_bytes(b'{"event":"phase","phase":"head","trained":2}\n' + line + b"\n")
        with pytest.raises(ValueError, match=r"line 2 of .*metrics\.jsonl must be an event"):
            run.read_metrics()
    assert len(events) == STEPS + 5 + 2


def test_the_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    """Also of one that was killed while it wrote its first state."""
    finish(tmp_path / "whole")
    Run(tmp_path / "new").create(linear_recipe(), {})
    for folder in tmp_path / "whole", tmp_path / "new":
        left = folder / ".bilinear-0123456789abcdef.tmp", folder / "phases" / ".tmpABC123"
        for path in left:
            path.write_bytes(b"half")
        finish(folder, resume=True)
        assert not any(path.exists() for path in left)
    assert contents(tmp_path / "new") == contents(tmp_path / "whole")
