"""Summaries of the measured tables: ``<!-- summary: speed -->`` and ``<!-- summary: errors -->``.

Each is a chart and a short table, computed from all rows of docs/benchmarks.md or docs/parity.md
when the site is built. ``<!-- chart: speed -->`` is the chart without the table.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from bilinear.testing.tolerances import SLACK

DOCS = Path(__file__).parents[1]
MARK = re.compile(r"^<!-- (summary|chart): (speed|errors) -->$", re.MULTILINE)
NAMES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX", "reference": "NumPy"}
MARKERS = {
    "PyTorch": ("#d55e00", "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z"),  # circle
    "TensorFlow": ("#b8860b", "M-4,-4h8v8h-8z"),  # square
    "JAX": ("#0072b2", "M0,-5l5,9h-10z"),  # triangle
    "NumPy": ("#009e73", "M0,-5l5,5l-5,5l-5,-5z"),  # diamond
}
BASELINES = ("÷ formula", "÷ compiled")
DTYPES = ("float64", "float32", "bfloat16", "float16")
LEFT, WIDTH, GAP, LINE = 200, 640, 30, 20
"""Pixels: width of the labels, width of all panels and their distance, height of a line."""

Values = dict[str, dict[str, float]]
"""Label of a line -> name of a marker -> value."""


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of the first table."""
    lines = (re.findall(r"^\|.*\|$(?:\n\|.*\|$)*", text, re.MULTILINE)[0]).splitlines()
    head, _, *body = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return [dict(zip(head, cells, strict=True)) for cells in body]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body))


def present(lines: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the names of the markers that occur, in the order of `MARKERS`."""
    return [name for name in MARKERS if any(name in line for line in lines)]


def chart(
    title: str, panels: dict[str, Values], ticks: Sequence[float], line: float, log: bool
) -> str:
    """Draw the values as markers along one axis for each panel, with a vertical line at `line`."""
    labels = list(next(iter(panels.values())))
    names = present([v for panel in panels.values() for v in panel.values()])
    top, bottom = 3 * LINE, (3 + len(labels)) * LINE
    width = WIDTH / len(panels) - GAP
    scale = math.log if log else float
    low, high = scale(ticks[0]), scale(ticks[-1])
    parts = [f'<svg viewBox="0 0 {LEFT + WIDTH} {bottom + LINE}" width="{LEFT + WIDTH}" role="img"']
    parts[0] += f' aria-label="{escape(title)}" font-size="12" fill="currentColor">'

    def text(x: float, y: float, words: str, anchor: str = "middle") -> None:
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>')

    def marker(name: str, x: float, y: float) -> None:
        color, path = MARKERS[name]
        parts.append(f'<path d="{path}" fill="{color}" transform="translate({x:.1f},{y})"/>')

    for i, name in enumerate(names):
        marker(name, LEFT + 10 + 110 * i, LINE - 4)
        text(LEFT + 20 + 110 * i, LINE, name, "start")
    for k, label in enumerate(labels):
        text(LEFT - 8, top + LINE * k + 14, label, "end")
    for i, (head, values) in enumerate(panels.items()):
        start = LEFT + 10 + i * (width + GAP)

        def place(value: float, start: float = start) -> float:
            return start + width * (scale(value) - low) / (high - low)

        text(start + width / 2, 2 * LINE + 4, head)
        for tick in sorted({*ticks, line}):
            style = "stroke-width='1.5'" if tick == line else "opacity='0.2'"
            x = f"{place(tick):.1f}"
            parts.append(
                f"<line x1='{x}' x2='{x}' y1='{top}' y2='{bottom}' stroke='currentColor' {style}/>"
            )
            text(place(tick), bottom + 14, f"{tick:g}")
        for k, label in enumerate(labels):
            for name, value in values.get(label, {}).items():
                marker(name, place(min(max(value, ticks[0]), ticks[-1])), top + LINE * k + 10)
    return "\n".join(['<div class="chart">', *parts, "</svg>", "</div>"])


def speed() -> str:
    """The ratios of float32, forward and backward: the median over the sizes."""
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, list[float]]]] = {name: {} for name in BASELINES}
    for row in rows(text.partition("<!-- measured: operators -->")[2]):
        if row["dtype"] == "float32" and row["pass"] == "forward + backward":
            framework = NAMES[row["framework"].split()[0]]
            for baseline in BASELINES:
                by_framework = found[baseline].setdefault(row["operator"], {})
                ratio = float(row[baseline].split()[0])
                by_framework.setdefault(framework, []).append(ratio)
    panels = {
        baseline: {
            label: {name: median(ratios) for name, ratios in found[baseline][label].items()}
            for label in sorted(found[baseline], key=lambda name: (name[0].isupper(), name))
        }
        for baseline in BASELINES
    }
    names = present([v for panel in panels.values() for v in panel.values()])
    columns = [(name, baseline) for name in names for baseline in BASELINES]
    body = [
        [f"`{label}`"]
        + [f"{panels[b][label][n]:.2f}" if n in panels[b][label] else "" for n, b in columns]
        for label in panels[BASELINES[0]]
    ]
    head = ["operator or layer", *(f"{name} {baseline}" for name, baseline in columns)]
    title = "Time of this library relative to the published formula, eager and compiled"
    ticks = (0.01, 0.1, 1, 10)
    return f"{chart(title, panels, ticks, 1, log=True)}\n\n{markdown(head, body)}"


def errors() -> str:
    """The largest ratio of error to bound of each backend."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    values: Values = {}
    for row in rows((DOCS / "parity.md").read_text(encoding="utf-8")):
        name, label = NAMES[row["backend"]], row["operator"]
        ratios = {dtype: float(row[dtype]) for dtype in DTYPES}
        line = values.setdefault(label, {})
        line[name] = max(line.get(name, 0), *ratios.values())
        largest = found.setdefault(name, {})
        for dtype, ratio in ratios.items():
            largest[dtype] = max(largest.get(dtype, (0, "")), (ratio, f"`{label}`" * bool(ratio)))
    body = [
        [name, *("{:.3f} {}".format(*found[name][dtype]) for dtype in DTYPES)]
        for name in present([found])
    ]
    panels = {"error ÷ bound, largest of all dtypes and both directions": values}
    title = f"Errors relative to their bounds, which fail a test above {SLACK:g}"
    picture = chart(title, panels, (0, 0.5, 1, 1.5, 2), SLACK, log=False)
    return f"{picture}\n\n{markdown(['backend', *DTYPES], body)}"


def read(app: Any, docname: str, content: list[str]) -> None:
    def insert(found: re.Match[str]) -> str:
        whole = {"speed": speed, "errors": errors}[found[2]]()
        return whole if found[1] == "summary" else whole.partition("\n\n")[0]

    content[0] = MARK.sub(insert, content[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
