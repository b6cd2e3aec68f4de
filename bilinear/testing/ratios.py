"""The worst ratio of error to bound that was met, by operator, backend, dtype and direction.

`closeness.assert_within` notes every comparison that says what it compares. At most `SLACK` is
allowed; the table shows how near to that the suite comes, so that drift is seen before it fails.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .cases import DTYPES


class Subject(NamedTuple):
    """What a ratio is of."""

    op: str
    backend: str
    dtype: str
    direction: str  # "forward" or "gradient"


WORST: dict[Subject, float] = {}


def note(subject: Subject, ratio: float) -> None:
    WORST[subject] = max(ratio, WORST.get(subject, 0.0))


def dump() -> list[tuple]:
    """What one process noted, for another to `merge`."""
    return [(*subject, ratio) for subject, ratio in WORST.items()]


def merge(rows: Iterable[tuple]) -> None:
    for *subject, ratio in rows:
        note(Subject(*subject), ratio)


def table() -> list[str]:
    """A row for each operator, backend and direction; a column for each dtype."""
    dtypes = [d for d in DTYPES if d in {subject.dtype for subject in WORST}]
    wide = max(11, *(len(subject.backend) for subject in WORST))
    lines = [f"{'operator':14} {'backend':{wide}} {'direction':10}" + _cells(dtypes)]
    for op, backend, direction, *ratios in _rows(dtypes):
        lines.append(f"{op:14} {backend:{wide}} {direction:10}{_cells(ratios)}")
    return lines


def write(path: Path) -> None:
    """The ratios as JSON, and beside it the table as markdown."""
    rows = [subject._asdict() | {"ratio": ratio} for subject, ratio in sorted(WORST.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    head = ("operator", "backend", "direction", *DTYPES)
    lines = [head, ["---"] * len(head), *_rows(tuple(DTYPES))]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    path.with_suffix(".md").write_text(text)


def _rows(dtypes: Sequence[str]) -> list[tuple[str, ...]]:
    """Operator, backend, direction, and the ratios of `dtypes`."""
    rows = dict.fromkeys((s.op, s.backend, s.direction) for s in sorted(WORST))
    found = []
    for op, backend, direction in rows:
        ratios = [WORST.get(Subject(op, backend, dtype, direction)) for dtype in dtypes]
        cells = [f"{r:.3f}" if r is not None else "" for r in ratios]
        found.append((op, backend, direction, *cells))
    return found


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>10}" for text in texts)
