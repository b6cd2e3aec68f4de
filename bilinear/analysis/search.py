"""Indices on disk that FAISS searches, with one block of descriptors in memory at a time.

``flat`` compares all rows. ``ivf`` divides the rows among the nearest of a number of centroids and
compares those of a few centroids. ``hnsw`` walks along a graph of near neighbors (Malkov and
Yashunin, TPAMI 2020). Rows have norm 1, so inner products are cosine similarities.
"""

import ctypes
import importlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._files import new_folder, write_text
from .._json import format_json, read_json
from .._require import require_packages
from ..contract import refuse
from .descriptors import blocks, nearest, unit
from .shards import Collection

KINDS = ("flat", "ivf", "hnsw")
FORMAT = "bilinear-search-index"
TARGET = 0.95
"""Recall that the number of compared lists or nodes of an index is chosen for."""
NEIGHBORS, QUERIES = 10, 256
"""Recall is the share of the nearest `NEIGHBORS` of `QUERIES` images of the collection."""
_TRAINING = 2**25
"""Values that the centroids are computed from, at most: 128 MiB."""
_PER_LIST = 40
"""Training rows for each centroid. FAISS asks for 39."""
_LINKS, _MOST_NODES = 32, 4096
_ROUNDING = 2.0**-11
"""Bound of the error of a similarity, if the values of a row are rounded to 11 bits."""
_ABOUT, _INDEX, _LISTS = "about.json", "index.faiss", "lists.faiss"


class Search(NamedTuple):
    """An open index: `effort` lists or nodes are compared; `recall` is 1 for ``flat``."""

    index: Any
    effort: int
    recall: float

    def nearest(
        self, descriptors: Collection, query: np.ndarray, k: int = 5
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `bilinear.analysis.descriptors.nearest`, for the rows that the index finds."""
        _, found = self.index.search(unit(np.asarray(query, np.float32))[None], k)
        rows = np.sort(found[found >= 0])
        order, similarity = nearest(descriptors[rows], query, k)
        return rows[order], similarity


def index_of(source: str | os.PathLike, kind: str) -> Path:
    """The folder of an index, beside the descriptors."""
    path = Path(source)
    return path.with_name(f"{path.name}.{kind}")


def open_search(
    descriptors: Collection, kind: str, report: Callable[[str], object] = print
) -> Search:
    """Open the index beside the descriptors; build it if there is none, or one of other rows.

    FAISS maps the index into memory. Open only indices that you have built: FAISS does not protect
    itself against files that were made to harm.

    Args:
        descriptors: the rows.
        kind: one of `KINDS`.
        report: called with a line that describes an index that was built.

    Raises: ImportError without FAISS; ValueError for an unknown kind; OSError for too little space,
        or if the folder of the index has something else.
    """
    if kind not in KINDS:
        requirement = f"the index must be one of {', '.join(KINDS)}"
        refuse(ValueError, "open_search", requirement, repr(kind), "ivf needs the least memory.")
    require_packages("bilinear.analysis.search", ("faiss",), "retrieval")
    import faiss  # type: ignore[import] # noqa: PLC0415 - slow to import

    folder, about = index_of(descriptors.source, kind), None
    if folder.exists():
        about = read_json("open_search", folder / _ABOUT, f"Delete {folder}.")
    expected = {"format": FORMAT, "kind": kind, "rows": descriptors.checksum()}
    if not (isinstance(about, dict) and expected.items() <= about.items()):
        stale = isinstance(about, dict) and about.get("format") == FORMAT
        about = _build(faiss, descriptors, folder, expected, stale)
        found = f"recall {about['recall']:.1%} of the {NEIGHBORS} nearest"
        compared = f"{about['effort']:,} of {about['parts']:,} compared"
        report(f"{folder}: {kind} index of {len(descriptors):,} descriptors, {found}, {compared}")
    flags = faiss.IO_FLAG_MMAP_IFC if kind == "hnsw" else faiss.IO_FLAG_ONDISK_SAME_DIR
    with _without_stdout():
        index = faiss.read_index(os.fspath(folder / _INDEX), flags)
    _set_effort(index, kind, about["effort"])
    return Search(index, about["effort"], about["recall"])


def _build(
    faiss: Any, rows: Collection, folder: Path, about: dict[str, Any], stale: bool
) -> dict[str, Any]:
    """Write an index and return its description."""
    kind, (count, size) = about["kind"], rows.shape
    codes = "SQfp16" if rows.dtype == np.float16 else "Flat"
    most = min(count, max(1, _TRAINING // size))
    parts = {"flat": 1, "hnsw": count}.get(kind) or lists_of(count, most)
    _check_space(folder, kind, rows)
    factory = f"HNSW{_LINKS},{codes}" if kind == "hnsw" else f"IVF{parts},{codes}"
    index = faiss.index_factory(size, factory, faiss.METRIC_INNER_PRODUCT)
    if kind != "hnsw":
        index.by_residual = False  # codes are the rows, and not their differences to a centroid
        index.cp.min_points_per_centroid = 1  # no warning for few rows
        index.train(_sample(rows, min(most, _PER_LIST * parts), seed=0)[1])
    if stale:
        shutil.rmtree(folder)
    with new_folder(folder) as temporary:
        if kind == "hnsw":
            for _, block in blocks(rows):
                index.add(block)
        else:
            _add_on_disk(faiss, index, rows, os.path.join(temporary, _LISTS))
        faiss.write_index(index, os.path.join(temporary, _INDEX))
        effort, recall = _tune(faiss, index, rows, kind, parts)
        about = about | {"effort": effort, "recall": recall, "parts": parts}
        write_text(os.path.join(temporary, _ABOUT), format_json(about, indent=2) + "\n")
    return about


def _add_on_disk(faiss: Any, index: Any, rows: Collection, lists: str) -> None:
    """Add rows to an empty index, block by block, with its inverted lists in a file."""
    ondisk, files = importlib.import_module("faiss.contrib.ondisk"), []
    for start, block in blocks(rows):
        index.add_with_ids(block, np.arange(start, start + len(block)))
        files.append(f"{lists}.{start}")
        faiss.write_index(index, files[-1])
        index.reset()
    with _without_stdout():
        ondisk.merge_ondisk(index, files, lists)
    for file in files:
        os.unlink(file)


@contextmanager
def _without_stdout() -> Iterator[None]:
    """Discard what FAISS prints from C: it must not be mixed with the results of a command."""
    sys.stdout.flush()
    stdout, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(stdout, 1)
        os.close(stdout)


def _tune(faiss: Any, index: Any, rows: Collection, kind: str, parts: int) -> tuple[int, float]:
    """Double the effort from 1 until the recall is at least `TARGET`; return both."""
    if parts == 1:  # exact
        return 1, 1.0
    exhaustive = importlib.import_module("faiss.contrib.exhaustive_search")
    k, metric = min(NEIGHBORS, len(rows) - 1), faiss.METRIC_INNER_PRODUCT
    chosen, queries = _sample(rows, min(QUERIES, len(rows)), seed=1)
    stream = (block for _, block in blocks(rows))
    expected = exhaustive.knn_ground_truth(queries, stream, k + 1, metric, ngpu=0)
    effort, most = 1, min(parts, _MOST_NODES) if kind == "hnsw" else parts
    while True:
        _set_effort(index, kind, effort)
        recall = recall_of(chosen, index.search(queries, k + 1), expected)
        if recall >= TARGET or effort == most:
            return effort, recall
        effort = min(2 * effort, most)


def _sample(rows: Collection, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows, with norm 1 in float32: their indices, sorted, and their values."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
    return chosen, unit(np.asarray(rows[chosen], np.float32))


Found = tuple[np.ndarray, np.ndarray]
"""Similarities (Q, k + 1), largest first, and row indices, as FAISS returns them."""


def recall_of(queries: np.ndarray, found: Found, expected: Found) -> float:
    """Mean share of the k nearest of each query that were found, without the query itself.

    Rows as similar as the k-th nearest count, whichever of them was found.

    Args:
        queries: (Q,) row indices.
        found: what an index found.
        expected: what an exact search found.
    """
    shares = []
    k = found[0].shape[1] - 1
    for own, similarity, rows, best, others in zip(queries, *found, *expected, strict=True):
        least = best[others != own][k - 1] - _ROUNDING
        shares.append(min(np.count_nonzero((similarity >= least) & (rows != own)), k) / k)
    return float(np.mean(shares))


def lists_of(count: int, training: int) -> int:
    """Number of centroids: 2 √N, with `_PER_LIST` training rows for each."""
    return max(1, min(round(2 * math.sqrt(count)), training // _PER_LIST))


def _set_effort(index: Any, kind: str, effort: int) -> None:
    if kind == "hnsw":
        index.hnsw.efSearch = effort
    else:
        index.nprobe = effort


def _check_space(folder: Path, kind: str, rows: Collection) -> None:
    """Refuse an index that the disk or, for ``hnsw``, the memory cannot hold."""
    count, size = rows.shape
    needed = count * (size * rows.dtype.itemsize + (8 * _LINKS + 16 if kind == "hnsw" else 8))
    free = shutil.disk_usage(folder.absolute().parent).free
    place, twice = "on the disk", 1 if kind == "hnsw" else 2  # blocks, then the merged lists
    if kind == "hnsw" and hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free, place = min(free, memory), "on the disk and in memory"
    if twice * needed > free:
        requirement = f"{folder} needs {twice * needed / 2**30:,.1f} GiB {place}"
        remedy = "Use another disk, reduced descriptors, or the index ivf in place of hnsw."
        refuse(OSError, "open_search", requirement, f"{free / 2**30:,.1f} GiB", remedy)
