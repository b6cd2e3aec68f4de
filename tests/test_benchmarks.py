"""The benchmark runs, and what it says of memory is held to what the operator promises."""

import importlib
import time
from pathlib import Path

import numpy as np
import pytest

from bilinear.data import Pipeline
from bilinear.images import Preprocessing

from .agreement import relative_error
from .subjects import PRESENT

if not (Path(__file__).parents[1] / "benchmarks").is_dir():
    pytest.skip("the benchmarks are elsewhere", allow_module_level=True)

from benchmarks.__main__ import measured
from benchmarks.calls import LAYERS, OPERATORS, Size
from benchmarks.data import photographs, timed
from benchmarks.report import chart, table

SMALL = Size(2, 6, 8)
over_backends = pytest.mark.parametrize("backend", PRESENT)


@over_backends
def test_every_operator_is_measured(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sizes = [(op, SMALL, "float32") for op in (*OPERATORS, *LAYERS)]
    sizes += [("bilinear_pool", SMALL._replace(streams=2), "bfloat16")]
    found = measured(backend, sizes, 0.0, "cpu", passes=(True,))
    assert len(found) == len(sizes)
    for row in found:
        assert all(0 < low <= median <= high for low, median, high in row["ratios"].values())
    whole = {"machine": "any", "device": "cpu", "rows": found, "memory": {}}
    assert len(table(whole)) == len(found) + 4
    chart(whole, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 10_000


@over_backends
def test_formulas_are_those_of_the_operators(backend: str) -> None:
    """What is compared computes the same: in float32, where eps stands elsewhere, and where
    published sketches have the noise of Fourier transforms in empty bins, which the root magnifies.
    """
    subject = importlib.import_module(f"benchmarks.{backend}")
    for name in (*OPERATORS, *LAYERS):
        runs = subject.runs(name, SMALL, "float32", False, "cpu")
        chosen = subject.BEST[subject.OURS][0], subject.EAGER
        ours, formula = (np.asarray(runs[one]()) for one in chosen)
        assert ours.shape == formula.shape, name
        assert relative_error(ours, formula) < 5e-3, name


@over_backends
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_little_is_held_between_the_passes(backend: str, streams: int, dtype: str) -> None:
    """The inputs, the output (in float32 for half types) and a few numbers a sample."""
    subject = importlib.import_module(f"benchmarks.{backend}")
    size = Size(4, 12, 16, streams)
    held = subject.held("bilinear_pool", size, dtype, True)
    if held is None:
        pytest.skip("a tape does not tell what it holds")
    inputs = streams * 4 * 12 * 16 * {"float64": 8, "float32": 4, "bfloat16": 2}[dtype]
    output = 4 * 16 * 16 * (8 if dtype == "float64" else 4)
    assert held <= inputs + output + 4 * 4 * 8


def test_waiting_for_images_is_told_from_training(tmp_path: Path) -> None:
    index = photographs(tmp_path, 4, 64, 48)
    batches = list(Pipeline(index, batch_size=2, preprocessing=Preprocessing(16)).epoch(0))
    rate, waited = timed(batches, lambda _: time.sleep(0.05))
    assert 0 < rate <= 4 / 0.1
    assert waited < 0.5
    slowly = (time.sleep(0.05) or batch for batch in batches)
    rate, waited = timed(slowly, lambda _: None)
    assert 0 < rate <= 4 / 0.1
    assert waited > 0.5
