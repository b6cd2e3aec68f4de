"""Results as Markdown tables, also inside a document, and as a chart."""

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

MEGABYTE = 2**20

BARS = {
    "eager": ("÷ formula", "#9db4c0"),
    "compiled": ("÷ formula, compiled", "#253237"),
    "floor": ("÷ floor", "#d08c60"),
}
"""Baseline -> name and color in the chart."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def spread(low: float, median: float, high: float, digits: int = 2) -> str:
    return f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def write(path: Path, section: str, lines: Sequence[str]) -> None:
    """Replace the text between the two marks of a section in a Markdown file with `lines`.

    Raises: ValueError if the file does not have each mark exactly once.
    """
    marks = [f"<!-- {mark}: {section} -->" for mark in ("measured", "end")]
    text = path.read_text(encoding="utf-8")
    if [text.count(mark) for mark in marks] != [1, 1]:
        raise ValueError(f"{path} must have each of these marks once: {' and '.join(marks)}")
    before, _, rest = text.partition(marks[0])
    after = rest.partition(marks[1])[2]
    text = "\n".join([f"{before}{marks[0]}", "", *lines, "", f"{marks[1]}{after}"])
    path.write_text(text, encoding="utf-8")


def chart(found: list[dict], path: Path) -> None:
    """Draw the ratios to formula, compiled formula and floor as bars."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"{path} was not drawn, because matplotlib is not installed.", file=sys.stderr)
        return
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    rows = [r for r in found if r["pass"] == "forward + backward"]
    labels = [f"{r['framework']}, {r['operator']}, {r['size']}, {r['dtype']}" for r in rows]
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.3 * len(rows)))
    named = set()
    for i, row in enumerate(rows):
        for k, (name, (label, color)) in enumerate(BARS.items()):
            if name not in row["ratios"]:
                continue
            low, median, high = row["ratios"][name]
            where = i + 0.27 * (k - 1)
            axes.barh(where, median, 0.25, color=color, label=label if label not in named else "")
            axes.plot([low, high], [where, where], color="black", linewidth=0.8)
            named.add(label)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time of ours ÷ time of the baseline, forward + backward")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
