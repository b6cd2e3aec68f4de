"""`CompactBilinearPool`: its tables, drawn and given, saved, moved and refused."""

import importlib

import numpy as np
import pytest

from bilinear import reference
from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.contract.sketches import MaclaurinTables, SketchTables
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..operators.sketches import dense_sketch, known_tables
from ..subjects import PRESENT, driver, layer_checks, over_backends

METHODS = [("tensor_sketch", sketch_tables), ("random_maclaurin", maclaurin_tables)]

over_methods = pytest.mark.parametrize(("method", "draw"), METHODS)


@over_backends
def test_the_types_of_tables_are_in_every_namespace(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    assert {namespace.SketchTables, namespace.MaclaurinTables} == {SketchTables, MaclaurinTables}


def test_the_draws_are_pinned() -> None:
    """Models are saved with their tables, but a seed should mean the same ones for ever."""
    assert [t.tolist() for t in sketch_tables(4, 3, 10, seed=0)[:4]] == [
        [8, 6, 5, 2],
        [-1, -1, -1, -1],
        [1, 8, 6],
        [1, 1, 1],
    ]
    assert sketch_tables(6, None, 100, seed=3).h2.tolist() == [62, 47, 26, 15, 69, 73]
    assert maclaurin_tables(2, 3, 4, seed=0).w1.tolist() == [[1, 1, 1, -1], [-1, -1, -1, -1]]
    wide = sketch_tables(512, None, 8192)
    assert wide.h1.dtype == np.int64
    assert wide.s1.dtype == np.int8
    assert wide.h1.max() < 8192
    assert (wide.h1 != wide.h2).any()


@over_backends
def test_a_layer_takes_tables_of_others(backend: str) -> None:
    """Of few bins: where one stays empty, their transforms leave noise, and its root is large."""
    tables, x = known_tables(6, 4), normal("float64", 2, 5, 6)
    namespace = importlib.import_module(f"bilinear.{backend}")
    assert namespace.CompactBilinearPool(6, 4, tables=tables).seed is None
    given = {"channels": 6, "dim": 4, "tables": tables, "reduction": "sum"}
    result, _ = driver(backend).layer("CompactBilinearPool", np.ones((2, 4)), [x], parameters=given)
    theirs = dense_sketch(x, tables)
    assert np.abs(theirs).min() > 0.01  # so the root's slope, and half of it over √, is below 10
    expected = reference.l2_normalize(reference.signed_sqrt(theirs))
    assert_rounded(result, expected, 100, scale=10 * float((x**2).sum()))


@over_backends
@over_methods
def test_layers_of_one_seed_are_equal(backend: str, method, draw) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    for channels in (5, [5, 3]):
        pool = namespace.CompactBilinearPool(channels, 8, method=method, seed=4)
        c, d = (5, None) if channels == 5 else channels
        for table, drawn in zip(pool.tables, draw(c, d, 8, 4), strict=True):
            np.testing.assert_array_equal(np.asarray(table), drawn)
        assert (pool.dim, pool.method, pool.seed) == (8, method, 4)
        assert np.array_equal(pool.channels, channels)


@over_backends
@pytest.mark.parametrize("method", [method for method, _ in METHODS])
def test_tables_are_part_of_the_model(backend: str, method: str) -> None:
    """Saved and loaded, moved and cast; no global generator is read or seeded again."""
    check_tables = layer_checks(backend).check_tables  # a framework may draw when it is imported
    before = np.random.get_state()  # noqa: NPY002
    check_tables(method)
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@over_backends
@pytest.mark.parametrize("method", [method for method, _ in METHODS])
def test_averages_and_casts_leave_the_tables(backend: str, method: str) -> None:
    layer_checks(backend).check_constants(method)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_seeds_are_none_or_integers_from_0_up(seed) -> None:
    error = ValueError if seed == -1 else TypeError
    sentence = "seed must be None or a non-negative integer"
    for _, draw in METHODS:
        with pytest.raises(error, match=f"{draw.__name__}: {sentence}"):
            draw(3, None, 8, seed)
    for backend in PRESENT:
        namespace = importlib.import_module(f"bilinear.{backend}")
        with pytest.raises(error, match=f"CompactBilinearPool: {sentence}"):
            namespace.CompactBilinearPool(3, 8, seed=seed)


@over_backends
@over_methods
def test_without_a_seed_each_layer_has_other_tables(backend: str, method, draw) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    first, second = (
        namespace.CompactBilinearPool(64, 8, method=method, seed=None) for _ in range(2)
    )
    assert first.seed is None
    assert (np.asarray(first.tables[0]) != np.asarray(second.tables[0])).any()
    assert (draw(64, None, 8, None)[0] != draw(64, None, 8, None)[0]).any()


@pytest.mark.skipif("torch" not in PRESENT, reason="needs PyTorch")
def test_processes_of_one_training_have_equal_tables(monkeypatch) -> None:
    """PyTorch's DistributedDataParallel exchanges parameters and buffers, not constants."""
    import torch  # noqa: PLC0415

    from bilinear.torch import CompactBilinearPool  # noqa: PLC0415

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="seed must be an integer where several processes"):
        CompactBilinearPool(4, 8, seed=None)
    assert CompactBilinearPool(4, 8).seed == 0


@over_methods
def test_numbers_may_be_those_of_numpy(method, draw) -> None:
    three, eight, one = np.int64(3), np.int32(8), np.uint8(1)
    for table, same in zip(draw(three, None, eight, one), draw(3, None, 8, 1), strict=True):
        np.testing.assert_array_equal(table, same)
    for backend in PRESENT:
        pool = importlib.import_module(f"bilinear.{backend}").CompactBilinearPool
        made = pool(three, eight, method=method, seed=one)
        x = driver(backend).to_native(np.ones((2, 3), np.float32))
        assert made(x).shape == (2, 8)
