"""The benchmarks run, and memory stays within the documented bounds."""

import functools
import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from bilinear.contract.pooling import packed_size

from ..agreement import relative_error
from ..subjects import PRESENT
from ..tolerances import LOGITS, PEAK, PEAK_SLACK, RECOMPUTED, RESIDENT

pytest.importorskip("benchmarks")

from benchmarks import cache, head, keras_layers, memory, models, operators, report, scaling
from benchmarks.calls import LAYERS, OPERATORS, Size
from benchmarks.measure import in_new_process, time_in_turn
from benchmarks.operators import measure

SMALL = Size(2, 6, 8)
over_backends = pytest.mark.parametrize("backend", PRESENT)
measures_peaks = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not measure peaks"
)


@over_backends
def test_operators_and_layers_are_measured(backend: str, tmp_path: Path) -> None:
    """One of each kind. The next test runs all of them."""
    pytest.importorskip("matplotlib")
    sizes = [("CovariancePool", SMALL, "float32")]
    sizes += [("bilinear_pool", SMALL._replace(streams=2), "bfloat16")]
    found = measure(backend, sizes, 0.0, "cpu", passes=(True,))
    assert len(found) == len(sizes)
    for row in found:
        assert all(0 < low <= median <= high for low, median, high in row["ratios"].values())
    assert len(operators.tables(found)) == len(found) + 2
    report.chart(found, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 10_000


@over_backends
def test_formulas_agree_with_the_operators(backend: str) -> None:
    """In float32, up to the position of eps and the noise of FFTs in published sketches.

    The square root magnifies this noise in empty bins.
    """
    subject = importlib.import_module(f"benchmarks.{backend}")
    sizes = [(name, SMALL) for name in (*OPERATORS, *LAYERS)]
    for name, size in [*sizes, ("bilinear_pool", SMALL._replace(packed=True))]:
        runs = subject.runs(name, size, "float32", False, "cpu")
        names = subject.BEST[subject.OURS][0], subject.EAGER
        ours, formula = (np.asarray(runs[name]()) for name in names)
        assert ours.shape == formula.shape, name
        assert relative_error(ours, formula) < 5e-3, name


@pytest.mark.parametrize("backend", [b for b in PRESENT if b != "tensorflow"])
@pytest.mark.parametrize(
    "size",
    [Size(4, 12, 16), Size(4, 12, 16, streams=2), Size(4, 12, 16, packed=True)],
    ids=["one stream", "two streams", "packed"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_little_is_held_between_the_passes(backend: str, size: Size, dtype: str) -> None:
    """The inputs, the output (float32 for half precision) and a few values per sample."""
    subject = importlib.import_module(f"benchmarks.{backend}")
    held = subject.bytes_held("bilinear_pool", size, dtype, True)
    inputs = size.streams * 4 * 12 * 16 * {"float64": 8, "float32": 4, "bfloat16": 2}[dtype]
    output = 4 * (packed_size(16) if size.packed else 16 * 16) * (8 if dtype == "float64" else 4)
    assert held <= inputs + output + 4 * 4 * 8


@over_backends
def test_plain_networks_agree_with_the_models(backend: str) -> None:
    """Logits and the loss of a training step are equal, and both give a row."""
    subject = importlib.import_module(f"benchmarks.{backend}")
    for training in (False, True):
        step = models.Step("resnet18", 33, 2, training, classes=3)
        how = models.ways(backend)[0]  # the fastest to build
        runs = models.runs(backend, step, how)
        ours, plain = (np.atleast_1d(runs[one]()) for one in ("ours", "plain"))
        assert ours.shape == ((1,) if training else (2, 3))
        assert relative_error(ours, plain) <= LOGITS["float32"]
        row = models.compare(subject.VERSION, step, how, runs, 0.0)
        assert len(models.tables([row])) == 3
        assert row["share"][1] > 0


@over_backends
def test_an_epoch_with_cached_feature_maps_is_measured(backend: str) -> None:
    row = cache.row(backend, cache.Epoch("resnet18", 33, 2, classes=2), 0.0)
    assert len(cache.tables([row])) == 3
    assert 0 < row["milliseconds"]["reading"] < row["milliseconds"]["cached"]
    assert row["ratio"][1] > 0


@pytest.mark.full
@pytest.mark.skipif("tensorflow" not in PRESENT, reason="needs Keras")
@over_backends
def test_keras_layers_are_measured_beside_the_native_ones(backend: str) -> None:
    """Each backend runs in a process of its own, because a process has one backend of Keras."""
    found, results = in_new_process(
        _keras_layers, backend, first=functools.partial(keras_layers.use_backend, backend)
    )
    assert len(keras_layers.tables(found)) == 2 + len(found)
    for row in found:
        assert all(0 < low <= median for low, median, _ in map(row.get, keras_layers.PASSES))
        assert ("call, µs" in row) == (row["mode"] == "eager")
    for keras, native in results:
        np.testing.assert_allclose(keras, native, **RECOMPUTED)


def _keras_layers(backend: str) -> tuple[list[dict], list[list[np.ndarray]]]:
    """The rows of two layers with weights, and what both calls of each return."""
    names = ["LowRankBilinearClassifier", "HierarchicalBilinearPool"]
    mode, inference = keras_layers.MODES[backend][-1], keras_layers.PASSES[0]
    pairs = [keras_layers.runs(backend, name, SMALL, mode, inference) for name in names]
    results = [[np.asarray(run()) for run in pair.values()] for pair in pairs]
    return keras_layers.measure(backend, dict.fromkeys(names, SMALL), 0.0), results


POOLED = [
    (Size(1, 49, 2048), "float32"),
    (Size(1, 49, 2048, packed=True), "float32"),
    (Size(1, 49, 2048, packed=True), "bfloat16"),
    (Size(1, 49, 2048, streams=2), "float32"),
    (Size(1, 49, 2048, masked=True), "bfloat16"),
    (Size(64, 1024, 128, masked=True), "float32"),
]
"""Many channels, and many locations in a large batch."""


@measures_peaks
@over_backends
def test_memory_stays_within_a_multiple_of_the_arrays(backend: str) -> None:
    """For every form, in one process, since each peak is relative to the memory before.

    The test fails only if a bound is exceeded in each of three processes. Other activity of a
    process may exceed it once.
    """
    subject = importlib.import_module(f"benchmarks.{backend}")

    def bound(row: dict) -> float:
        form = row["dtype"] + (", packed" if "packed" in row["size"] else "")
        return PEAK[backend][form][row["pass"] != "forward"] * row["arrays"] + PEAK_SLACK

    over = []
    for _ in range(3):
        found = in_new_process(functools.partial(scaling.peaks, only_ours=True), backend, POOLED)
        assert len(found) == len(POOLED) * 2 * len(subject.BEST[subject.OURS])
        for row in found:
            assert row["peak"] >= row["arrays"] / 10, row  # at least the output
        over.append([row for row in found if row["peak"] > bound(row)])
        if not over[-1]:
            return
    pytest.fail(f"in every process: {over}")


@measures_peaks
@over_backends
def test_peaks_include_held_memory(backend: str) -> None:
    """For passes in two calls. A compiler that sees both passes may hold less."""
    size = Size(4, 49, 512)
    found = in_new_process(
        functools.partial(memory.measure_memory, compiled=False),
        backend,
        ("matrix_sqrt", size, "float32"),
    )
    assert {one["name"].partition(",")[0] for one in found} == {"ours", "formula"}
    matrices = 4 * size.samples * size.channels**2
    eager = [one for one in found if one["name"] in ("ours", "formula")]
    for one in eager:
        assert one["held"] >= 10 * matrices, one  # the steps of an iteration
        assert one["peak"] >= one["held"] - matrices, one
    assert all(one["held"] is None for one in found if "XLA" in one["name"])
    assert len(memory.tables(found)) == 2 + len(found)


@measures_peaks
@pytest.mark.skipif("torch" not in PRESENT, reason="needs PyTorch")
def test_the_peak_of_a_step_includes_its_gradients() -> None:
    """Gradients of the classifier, the features and the descriptor."""
    size = Size(4, 49, 256)
    features = packed_size(size.channels)
    arrays = 200 * features + size.samples * (size.locations * size.channels + features)
    assert in_new_process(head.memory, "torch", "training step", "ours", size) >= 4 * arrays


@over_backends
def test_growth_is_measured(backend: str) -> None:
    found = scaling.growth(backend, 0.0, None, {"samples": (1, 2)}, Size(1, 6, 8))
    assert [len(row["ms"]) for row in found] == [2, 2]
    assert len(scaling.tables({"peaks": [], "growth": found})) == 2 + 1 + 4


@measures_peaks
@pytest.mark.skipif("tensorflow" not in PRESENT, reason="needs TensorFlow")
@pytest.mark.parametrize(
    ("size", "graph"),
    [
        (Size(16, 49, 384), False),
        (Size(16, 49, 384, streams=2), True),
        (Size(16, 49, 384, packed=True), False),
    ],
    ids=["one stream", "two streams, graph", "packed"],
)
def test_little_is_held_by_a_tape(size: Size, graph: bool) -> None:
    """As above, by the growth of a process. Another matrix would be 9 MiB, a packed one 4.5 MiB."""
    subject = importlib.import_module("benchmarks.tensorflow")
    inputs = size.streams * 16 * 49 * 384 * 4
    output = 16 * (packed_size(384) if size.packed else 384**2) * 4
    held = subject.bytes_held("bilinear_pool", size, "float32", True, graph=graph)
    assert abs(held - inputs - output) <= RESIDENT


@over_backends
def test_heads_are_measured_and_agree(backend: str) -> None:
    """All variants give the published scores, and every training step reduces the loss."""
    published = importlib.import_module(f"benchmarks.{backend}").EAGER
    for which in head.PASSES:
        runs = head.runs(backend, which, SMALL, "cpu")
        results = {name: [np.asarray(run()) for _ in range(3)] for name, run in runs.items()}
        row = head.row(backend, which, SMALL, time_in_turn(runs, 0.0, rounds=(2, 2)))
        assert all(0 < low <= median <= high for low, median, high in row["ratios"].values())
        assert len(head.tables([row])) == 3 + 1 + 2 + len(runs)
        for name, (first, *_, last) in results.items():
            if which == "training step":
                assert last < first, name
            else:  # eps is in another position
                assert relative_error(last, results[published][0]) < 5e-3, name
