"""``python -m benchmarks.accelerator``: its parts in small on the CPU, and its time limits."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..subjects import PRESENT, driver

pytest.importorskip("benchmarks")

from benchmarks.accelerator import __main__ as command
from benchmarks.accelerator import child, report

ROOT = Path(__file__).parents[2]
FRAMEWORKS = [name for name in PRESENT if name in command.FRAMEWORKS]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_part_in_small(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first items of each part but the last, for one operator, without Inductor."""
    driver(framework)  # sets the device of the tests
    monkeypatch.setattr("bilinear.testing.ratios.WORST", {})
    if framework == "torch":
        monkeypatch.setattr("torch.compile", lambda function, **_: function)
    found = {}
    for part in [part for part in command.PARTS if part != "training"]:
        rows = child.rows(part, framework, "cpu", ["outer_pool"], time.time() + 60)
        planned, *done = itertools.islice(rows, 1 + (5 if part == "machine" else 2))
        one = {**planned, "rows": done, "seconds": 1, "end": "complete"}
        found[part] = {framework: one}
        assert not [row for row in done if "error" in row or row.get("problems")], part
        assert {row["item"] for row in done} <= {*planned["planned"]}
    parts = {"command": "", "machine": "", "parts": found}
    text = "\n".join(report.markdown(parts, command.PARTS))
    assert "What failed" not in text
    for row in ("product, bfloat16 |", "outer_pool | ok |", "outer_pool | 2 × 9 × 16 | float32 |"):
        assert row in text


STUCK = """
import json, subprocess, sys
framework = sys.argv[2]
print(json.dumps({"planned": ["device", "copy", "product, float32"]}), flush=True)
print(json.dumps({"item": "device", "text": f"a|b of {framework}"}), flush=True)
if framework == "jax":
    sys.exit(3)
print(json.dumps({"item": "copy", "error": "OutOfMemoryError: 80 GiB"}), flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(99)"])
"""


def test_a_part_that_hangs_or_dies_leaves_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "CHILD", (sys.executable, "-c", STUCK))
    begin = time.monotonic()
    command.main(["--out", str(tmp_path), "--minutes", "0.05", "--part", "machine"])
    assert time.monotonic() - begin < 10
    torch, jax = json.loads((tmp_path / "accelerator.json").read_text())["parts"][
        "machine"
    ].values()
    assert jax["end"] == "failed with exit code 3"
    assert torch["end"] == "ended within an item at its time limit"
    assert report.left_out(torch) == ["product, float32"]
    text = (tmp_path / "accelerator.md").read_text()
    for line in (
        "| machine | torch | 2 of 3 |",
        "| torch | device | a\\|b of torch |",
        "| torch | copy | all | OutOfMemoryError: 80 GiB |",
        "Left out in torch: product, float32.",
        "Left out in jax: copy; product, float32.",
    ):
        assert line in text


@pytest.mark.full
@pytest.mark.skipif(not FRAMEWORKS, reason="needs PyTorch or JAX")
def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    """Every part in its own process; a slow machine may leave items out."""
    words = ["--device", "cpu", "--minutes", "20", "--operator", "outer_pool"]
    run = [sys.executable, "-m", "benchmarks.accelerator", "--out", str(tmp_path), *words]
    subprocess.run([*run, "--framework", *FRAMEWORKS], cwd=ROOT, check=True)
    parts = json.loads((tmp_path / "accelerator.json").read_text())["parts"]
    assert [*parts] == [*command.PARTS]
    for part, of in parts.items():
        for framework, one in of.items():
            assert "exit code" not in one["end"], (part, framework)
            assert one["rows"], (part, framework)
            assert not [row for row in one["rows"] if row.get("error") or row.get("problems")]


def test_an_item_that_fails_is_a_row() -> None:
    """Also one variant of a comparison, while the others are measured."""

    def fail() -> None:
        raise MemoryError("no\nmemory")

    assert child.run_item(fail) == {"error": "MemoryError: no memory"}

    class Adapter:
        wait = release_memory = staticmethod(lambda *_: None)

    working, problems = child.working_calls({"ours": int, "formula": fail}, Adapter)
    assert [*working] == ["ours"]
    assert problems == {"formula": "MemoryError: no memory"}
