"""The comparison with Grain: its parts that need no Grain, and the error without it."""

import sys

import pytest

from benchmarks import input as command
from benchmarks import input_trials
from benchmarks.data import photographs
from benchmarks.input_pipelines import OURS, Source


def test_without_grain_it_is_one_sentence(monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["input"])
    with pytest.raises(SystemExit):
        command.main()
    assert capsys.readouterr().err.endswith("not installed here; pip install grain\n")


def test_our_pipeline_is_measured(tmp_path, capsys) -> None:
    source = Source(tmp_path, 9, 16, 2)
    photographs(tmp_path, source.images, 40, 30)
    images, seconds = command.rate(OURS, source, 0)
    assert images > 0 < seconds
    input_trials.main(OURS, "0", *map(str, source))
    assert capsys.readouterr().out.split() == ["2", "2", "2", "2", "1"]
    assert "of the rate of files" in command.shards(source, 2)
