"""The largest ratios of error to bound, by operator, backend, dtype and direction.

`closeness.assert_within` records comparisons with a `subject`. At most `SLACK` is allowed. The
table shows a growing error before a test fails.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .cases import DTYPES


class Subject(NamedTuple):
    """The operator, backend, dtype and direction of a ratio."""

    op: str
    backend: str
    dtype: str
    direction: str  # "forward" or "gradient"


WORST: dict[Subject, float] = {}


def note(subject: Subject, ratio: float) -> None:
    WORST[subject] = max(ratio, WORST.get(subject, 0.0))


def dump() -> list[tuple]:
    """Return all ratios in a form that another process can `merge`."""
    return [(*subject, ratio) for subject, ratio in WORST.items()]


def merge(rows: Iterable[tuple]) -> None:
    for *subject, ratio in rows:
        note(Subject(*subject), ratio)


def table() -> list[str]:
    """Return lines with a row per operator, backend and direction, and a column per dtype."""
    dtypes = [d for d in DTYPES if d in {subject.dtype for subject in WORST}]
    wide = max(11, *(len(subject.backend) for subject in WORST))
    lines = [f"{'operator':14} {'backend':{wide}} {'direction':10}" + _cells(dtypes)]
    for op, backend, direction, *ratios in _rows(dtypes):
        lines.append(f"{op:14} {backend:{wide}} {direction:10}{_cells(ratios)}")
    return lines


def write(path: Path) -> None:
    """Write the ratios as JSON, and the table as markdown with suffix ``.md``."""
    rows = [subject._asdict() | {"ratio": ratio} for subject, ratio in sorted(WORST.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    head = ("operator", "backend", "direction", *DTYPES)
    lines = [head, ["---"] * len(head), *_rows(tuple(DTYPES))]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    path.with_suffix(".md").write_text(text)


def _rows(dtypes: Sequence[str]) -> list[tuple[str, ...]]:
    """Return operator, backend and direction with the ratios of `dtypes`."""
    rows = dict.fromkeys((s.op, s.backend, s.direction) for s in sorted(WORST))
    found = []
    for op, backend, direction in rows:
        ratios = [WORST.get(Subject(op, backend, dtype, direction)) for dtype in dtypes]
        cells = [f"{r:.3f}" if r is not None else "" for r in ratios]
        found.append((op, backend, direction, *cells))
    return found


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>10}" for text in texts)
