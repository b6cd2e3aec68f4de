"""The time of each pooling layer with its classifier, and `bilinear cost --measure`."""

import importlib
import json
import time

import pytest

from bilinear.analysis.costs import POOLS, compare_costs
from bilinear.cli import run

from ..subjects import PRESENT

PAUSE = 0.02


@pytest.mark.parametrize("framework", PRESENT)
def test_heads_are_measured(framework: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A training step that takes longer is seen in its column only; large heads are left out."""
    head_times = importlib.import_module("bilinear.train.head_times")
    engine = importlib.import_module(f"bilinear.train.engines.{framework}").Engine
    step, calls = engine.head_step, []

    def slow(self, maps, labels, rates):
        calls.append(maps[0].shape)
        time.sleep(PAUSE)
        return step(self, maps, labels, rates)

    monkeypatch.setattr(engine, "head_step", slow)
    options = {"batch_size": 2, "projection": 3}
    most = compare_costs(4, 3, **options)[3].training
    found = head_times.measure_heads(framework, 4, 3, size=2, seconds=0.0, most=most, **options)
    small = [cost.training <= most for cost in compare_costs(4, 3, **options)]
    assert [one is not None for one in found] == small
    assert 0 < sum(small) < len(POOLS)
    for one in filter(None, found):
        assert one.training >= PAUSE / 2
        assert one.inference > 0
    assert min(one.inference for one in filter(None, found)) < PAUSE / 2
    assert {*calls} == {(2, 2, 2, 4)}


def test_the_command_prints_the_times(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    head_times = importlib.import_module("bilinear.train.head_times")
    times = [head_times.HeadTime(0.001, 0.0025), *[None] * (len(POOLS) - 1)]
    given = []
    monkeypatch.setattr(head_times, "measure_heads", lambda *a, **k: given.append((a, k)) or times)
    words = ["cost", "4", "--classes", "3", "--measure", "--size", "7", "--framework", "torch"]
    assert run(words) == 0
    head, first, second, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["inference", "ms", "training", "ms"]
    assert first.split()[-2:] == ["1.00", "2.50"]
    assert second.split()[-2:] == ["–", "–"]
    assert given == [(("torch", 4, 3), {"batch_size": 32, "projection": None, "size": 7})]
    assert run([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["seconds"] == {"inference": 0.001, "training": 0.0025}
    assert rows[1]["seconds"] is None
