"""FAISS indices on disk: as the exact search, in bounded memory, and rebuilt for other rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bilinear.analysis import descriptors, search
from bilinear.analysis.descriptors import nearest, unit, write_descriptors
from bilinear.analysis.search import KINDS, index_of, lists_of, open_search, recall_of
from bilinear.analysis.shards import Collection

ABOUT = {"model": "m", "sha256": "0" * 64}


def collection(
    folder: Path, count: int, size: int, reduction: str = "", seed: int = 0
) -> Collection:
    """Rows around 20 centers, which nothing but their order tells apart from others."""
    rng, path = np.random.default_rng(seed), folder / "f.npy"
    centers = rng.standard_normal((20, size)).astype(np.float32)
    with write_descriptors(path, size, **ABOUT, reduction=reduction) as writer:
        for start in range(0, count, 5000):
            names = [f"{k}.jpg" for k in range(start, min(start + 5000, count))]
            noise = rng.standard_normal((len(names), size)).astype(np.float32)
            rows = centers[rng.integers(0, 20, len(names))] + noise
            writer.append(unit(rows) if reduction else rows, names, [-1] * len(names))
    return Collection(path)


@pytest.mark.parametrize("reduction", ["", "1" * 64], ids=["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_what_the_exact_search_finds(
    kind: str, reduction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """Of rows in several blocks; ``flat`` finds all. Nothing is printed to stdout."""
    pytest.importorskip("faiss", reason="the extra retrieval is absent")
    monkeypatch.setattr(descriptors, "_PIECE", 16 * 300)
    rows, lines = collection(tmp_path, 1000, 16, reduction), []
    noise = np.random.default_rng(5).standard_normal((20, 16)).astype(np.float32)
    queries = unit(rows[:1000][::50].astype(np.float32)) + 0.05 * noise
    for _ in range(2):  # built, then read
        found = open_search(rows, kind, lines.append)
        assert len(lines) == 1
        shares = []
        for query in queries:
            expected, ours = nearest(rows, query, 10), found.nearest(rows, query, 10)
            shares.append(len({*expected[0]} & {*ours[0]}) / 10)
            if kind == "flat":
                np.testing.assert_array_equal(ours[0], expected[0])
            same = dict(zip(*expected, strict=True))
            for row, similarity in zip(*ours, strict=True):
                assert similarity == pytest.approx(same.get(row, similarity), abs=1e-6)
        assert np.mean(shares) >= (1 if kind == "flat" else 0.9)
        assert found.recall >= search.TARGET
    assert f"f.npy.{kind}: {kind} index of 1,000 descriptors, recall " in lines[0]
    assert capfd.readouterr() == ("", "")
    assert len(found.nearest(rows, queries[0], 2000)[0]) <= 1000
    collection(tmp_path, 1000, 16, reduction, seed=1)
    rows = Collection(tmp_path / "f.npy")
    one = open_search(rows, kind, lines.append)
    assert len(lines) == 2
    assert one.nearest(rows, rows[7:8][0], 1)[0].tolist() == [7]
    os.rename(tmp_path, tmp_path.with_name(f"{tmp_path.name}-moved"))
    moved = Collection(tmp_path.with_name(f"{tmp_path.name}-moved") / "f.npy")
    assert open_search(moved, kind, lines.append).nearest(moved, moved[7:8][0], 1)[0] == [7]
    assert len(lines) == 2


def test_errors_of_indices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra retrieval is absent")
    rows = collection(tmp_path, 3, 4)
    with pytest.raises(ValueError, match=r"must be one of flat, ivf, hnsw; got 'x'"):
        open_search(rows, "x")
    for kind in KINDS:  # one row for each centroid, at most
        assert open_search(rows, kind, str).nearest(rows, rows[1:2][0], 1)[0].tolist() == [1]
    folder = index_of(rows.source, "ivf")
    (folder / "about.json").write_text("{")
    with pytest.raises(ValueError, match=r"about\.json must be a JSON file"):
        open_search(rows, "ivf")
    (folder / "about.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(OSError, match=r"f\.npy\.ivf: the folder must be new"):
        open_search(rows, "ivf", str)
    (folder / "about.json").write_text(json.dumps({"format": search.FORMAT}))
    open_search(rows, "ivf", str)
    rows.shape = 2**40, 2**10
    with pytest.raises(OSError, match=r"f\.npy\.hnsw needs .* GiB on the disk and in memory; got "):
        search._check_space(index_of(rows.source, "hnsw"), "hnsw", rows)


def test_without_faiss_the_error_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs faiss, .* pip install 'bilinear\[retrieval\]'"):
        open_search(collection(tmp_path, 3, 4), "ivf")


def test_recall_and_number_of_lists() -> None:
    """A query is not its own neighbor, whether a duplicate of it displaced it or not."""
    queries = np.array([0, 1])
    exact = np.float32([[1, 0.9, 0.8], [1, 1, 0.7]]), np.array([[0, 4, 5], [7, 8, 9]])
    for similarities, rows, recall in (
        (*exact, 1),
        ([[1, 0.9, 0.8], [1, 1, 1]], [[0, 4, 6], [9, 1, 7]], 1),  # as similar
        ([[1, 0.9, 0.7], [1, 1, 0.7]], [[0, 4, 5], [1, 7, 2]], 0.5),
        ([[1, -9, -9], [1, -9, -9]], [[0, -1, -1], [1, -1, -1]], 0),
    ):
        assert recall_of(queries, (np.float32(similarities), np.array(rows)), exact) == recall
    assert [lists_of(n, min(n, 65536)) for n in (1, 100, 10**5, 10**7)] == [1, 2, 632, 1638]


COUNT, SIZE = 100_000, 512
BOUND = 512 * 2**20 + 3 * 2 * COUNT * SIZE
"""512 MiB, and mapped pages of three files: descriptors, blocks of the index, merged lists."""
MEASURED = r"""
import re, sys
from pathlib import Path
from tests.analysis.test_search import COUNT, SIZE, collection
from bilinear.analysis.descriptors import nearest
from bilinear.analysis.search import open_search
rows = collection(Path(sys.argv[1]), COUNT, SIZE, "1" * 64)
query = rows[5:6][0]
expected = nearest(rows, query, 10)[0]
for kind in sys.argv[2:]:
    found = open_search(rows, kind, print).nearest(rows, query, 10)[0]
    print(len({*found} & {*expected}))
print(1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kinds", [[], ["flat"], ["ivf"], ["hnsw"]], ids=str)
def test_the_memory_of_searching_100_000_descriptors_is_bounded(
    kinds: list[str], tmp_path: Path
) -> None:
    """Also that of building the index. The peak includes pages of mapped files."""
    if kinds:
        pytest.importorskip("faiss", reason="the extra retrieval is absent")
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, str(tmp_path), *kinds]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    *found, peak = result.stdout.splitlines()
    assert int(peak) < BOUND, result.stdout
    assert all(int(count) >= 9 for count in found[1::2])
