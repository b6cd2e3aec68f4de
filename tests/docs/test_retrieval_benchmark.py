"""``python -m benchmarks.retrieval``: what it measures, and its tables."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")
pytest.importorskip("benchmarks")

from benchmarks import retrieval
from bilinear.analysis.search import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_tables(tmp_path: Path) -> None:
    """Times and sizes are multiplied by 10 million; those of a query grow with what is compared."""
    row = {"build": 2e-4, "size": 1024.0, "recall": 0.975, "memory": 2**20, "query": 1e-3}
    found = dict.fromkeys(("", *KINDS), row | {"query memory": 2**21})
    found |= {key: {"time": 0.03, "size": 2048.0} for key in ("extraction", "rows")}
    found["reduction"] = {"time": 5e-5, "fit": 90.0, "memory": 2**27}
    lines = retrieval.tables(found, 100_000)
    assert "| index `ivf` | 200 µs | 1,024 | 33.3 min | 9.5 GiB |" in lines
    assert "| `--index flat` | 1 ms | 100 ms | 97.5% | 1 MiB | 2 MiB |" in lines
    assert "| `--index hnsw` | 1 ms | 1.4 ms | 97.5% | 1 MiB | 2 MiB |" in lines
    assert "| `--index ivf` | 1 ms | 38.6 ms | 97.5% | 1 MiB | 2 MiB |" in lines
    fit = (
        "To fit a reduction to 16,384 descriptors takes 1.5 min of CPU time and 128 MiB of memory."
    )
    assert fit in lines
    if PAGE.is_file():
        copy = tmp_path / "page.md"
        copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
        retrieval.write(copy, "retrieval", lines)
        assert fit in copy.read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rows_and_their_search_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra retrieval is absent")
    monkeypatch.setattr(retrieval, "SIZE", 16)
    assert 32 < retrieval.write_rows(tmp_path / "f.npy", 2000)["size"] < 100
    for kind in ("", *KINDS):
        found = retrieval.search(tmp_path / "f.npy", kind)
        assert found["recall"] >= 0.95
        assert found["query"] > 0
        assert (found["build"] > 0) == (found["size"] > 32) == (kind != "")
