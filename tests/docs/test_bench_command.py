"""``python -m benchmarks``: its tables, results file, document and errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..subjects import PRESENT, needs_a_framework

pytest.importorskip("benchmarks")

from benchmarks import __main__ as command
from benchmarks import machine, operators, report

ROOT = Path(__file__).parents[2]


def row(framework: str, operator: str = "old", **ratios: list[float]) -> dict:
    """A row of the table of operators."""
    found = {"framework": f"{framework} 1", "operator": operator, "size": "1 × 2 × 3"}
    known = {"eager": [0.5, 1, 2], "compiled": [0.5, 1, 2], **ratios}
    return {**found, "dtype": "float32", "pass": "forward + backward", "own": 1, "ratios": known}


@needs_a_framework
def test_rows_that_are_not_measured_again_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier rows of other frameworks and operators stay; the others are replaced."""
    one = PRESENT[-1]  # JAX if it is installed: its compiler is the fastest
    other = next(framework for framework in command.FRAMEWORKS if framework != one)
    document, file = tmp_path / "figures.md", tmp_path / "bench.json"
    document.write_text("a\n<!-- measured: operators -->\nold\n<!-- end: operators -->\nb\n")
    monkeypatch.delenv(machine.ONEDNN, raising=False)
    where = machine.describe(command.present(), "cpu", 1)
    parts = {name: {"commands": ["before"], "found": [row(name)]} for name in (one, other)}
    again = row(one, "signed_sqrt") | {"size": "16 × 784 × 512"}
    parts[one]["found"].insert(0, again)
    elsewhere = {"machine": "another", "frameworks": {}}
    operators_before = {"machine": where, "frameworks": parts}
    file.write_text(json.dumps({"operators": operators_before, "head": elsewhere}))

    words = ["--operators", "--operator", "signed_sqrt", "--quick", "--seconds", "0"]
    words += ["--threads", "1", "--framework", one, "--out", str(tmp_path)]
    run = [sys.executable, "-m", "benchmarks", *words, "--write", str(document)]
    done = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)

    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"{where} Command: ")
    asked = "python -m benchmarks --operators --seconds 0.0 --threads 1 --quick"
    of_one = "" if command.present() == [one] else f" --framework {one}"
    assert f"`{asked} --operator signed_sqrt{of_one}`" in first
    both = [framework for framework in command.FRAMEWORKS if framework in (one, other)]
    of_both = "" if command.present() == both else f" --framework {' '.join(both)}"
    assert f"`before{of_both}`" in first
    assert str(tmp_path) not in done.stdout
    table = [[*map(str.strip, line.split("|"))] for line in lines[1 : lines.index("", 1)]][2:]
    assert sorted(cells[2] for cells in table) == ["old", "old", "signed_sqrt", "signed_sqrt"]
    assert [cells[1] for cells in table if cells[2] == "old"] == [f"{name} 1" for name in both]
    marked = f"<!-- measured: operators -->\n\n{done.stdout.strip()}\n\n<!-- end: operators -->"
    assert document.read_text() == f"a\n{marked}\nb\n"
    with pytest.raises(ValueError, match="measured: head"):
        report.write(document, "head", [])
    whole = json.loads(file.read_text())
    assert whole["head"] == elsewhere
    assert whole["operators"]["frameworks"][other] == parts[other]
    for found in whole["operators"]["frameworks"][one]["found"]:
        assert all(0 < low <= median <= high for low, median, high in found["ratios"].values())


@pytest.mark.parametrize("section", ["memory", "models", "cache", "scaling", "operators"])
def test_what_needs_another_gpu_is_refused(section: str, capsys, monkeypatch) -> None:
    """A section without GPU support, or a machine on which no framework finds one."""
    monkeypatch.setattr(command, "in_new_process", lambda *_: None)
    with pytest.raises(SystemExit):
        command.main(["--device", "cuda", "--framework", "jax", f"--{section}"])
    absent = "must find a GPU; got none in jax. "
    message = absent if section == "operators" else f"can run on a GPU; got --{section}. "
    assert message in capsys.readouterr().err


def test_rows_slower_in_most_rounds_are_listed() -> None:
    fast = row("torch", "fast", eager=[1.0, 1.2, 1.4])
    slow = [row("torch", "plain", eager=[1.1, 1.2, 1.4]), row("jax", "jit", compiled=[1.06, 2, 3])]
    lines = operators.slower([fast, *slow])
    assert [line.split(" | ")[1] for line in lines[5:]] == ["plain", "jit"]
    assert "1.05" in lines[1]
    assert operators.slower([fast])[1].endswith("are at most 1.05.")


def test_without_matplotlib_the_chart_is_skipped_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report.chart([row("torch")], tmp_path / "bench.png")
    assert "matplotlib" in capsys.readouterr().err
