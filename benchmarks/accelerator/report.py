"""The results of the check as JSON and as Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..report import table

Rows = Sequence[tuple[str, dict]]
"""Frameworks and rows of one part."""
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Head and lines."""
LISTED = 8
"""Number of items left out that the Markdown file names; the JSON file names all."""


def write(folder: Path, found: Mapping[str, Any], parts: Mapping[str, ModuleType]) -> None:
    """Write ``accelerator.json`` and ``accelerator.md``, each in one step."""
    text = "\n".join(markdown(found, parts)) + "\n"
    for name, content in (("json", json.dumps(found, indent=1) + "\n"), ("md", text)):
        file = folder / f"accelerator.{name}"
        partial = file.with_suffix(f".{name}.partial")
        partial.write_text(content, encoding="utf-8")
        partial.replace(file)


def markdown(found: Mapping[str, Any], parts: Mapping[str, ModuleType]) -> Iterator[str]:
    """The tables of all parts that have begun."""
    yield from ("# Check on an accelerator", "")
    yield f"Command: `{found['command']}`. Machine: {found['machine']}."
    yield from ("", "How far each part came: items done, of those planned, and how it ended.", "")
    head = ("part", "framework", "items", "seconds", "end")
    yield from table(head, [_progress(*key, one) for key, one in _runs(found)])
    rates = parts["machine"].highest_rates(_rows(found["parts"].get("machine", {})))
    for part, of in found["parts"].items():
        rows = [(framework, row) for framework, row in _rows(of) if "error" not in row]
        yield from ("", f"## {part.capitalize()}", "", parts[part].MEANING, "")
        yield from table(*map(_escaped, parts[part].table_of(rows, rates)))
        yield from _failures(_rows(of))
        for framework, one in of.items():
            if left := left_out(one):
                more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
                yield from ("", f"Left out in {framework}: {'; '.join(left[:LISTED])}{more}.")


def left_out(one: Mapping[str, Any]) -> list[str]:
    """The planned items that have no row."""
    done = {row["item"] for row in one["rows"]}
    return [item for item in one["planned"] if item not in done]


def _runs(found: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict]]:
    for part, of in found["parts"].items():
        for framework, one in of.items():
            yield (part, framework), one


def _rows(of: Mapping[str, dict]) -> Rows:
    return [(framework, row) for framework, one in of.items() for row in one["rows"]]


def _progress(part: str, framework: str, one: Mapping[str, Any]) -> list[str]:
    done = len(one["planned"]) - len(left_out(one))
    count = f"{done} of {len(one['planned'])}"
    return [part, framework, count, f"{one['seconds']:.0f}", one["end"]]


def _failures(rows: Rows) -> Iterator[str]:
    lines = []
    for framework, row in rows:
        problems = {"all": row["error"]} if "error" in row else row.get("problems", {})
        lines += [[framework, row["item"], *problem] for problem in problems.items()]
    if lines:
        yield from ("", "What failed: the item, which of its calls, and the message.", "")
        yield from table(("framework", "item", "call", "message"), _escaped(lines))


def _escaped(lines: Any) -> Any:
    """Replace the bars in cells, which would end them."""
    if isinstance(lines, str):
        return lines.replace("|", "\\|")
    return [_escaped(one) for one in lines]
