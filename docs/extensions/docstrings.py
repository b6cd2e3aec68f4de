"""Docstrings of this package as reStructuredText with Google sections.

- A section in one line, ``Shape: x (N, L, C) -> (N, C)``, becomes one with its own heading.
- ``*`` and ``|`` outside of literals are escaped; in formulas they are not markup.
- The specification of an operator gets the cost that its PyTorch version states.
"""

import ast
import re
from pathlib import Path
from typing import Any

import bilinear

SECTIONS = ("Args", "Returns", "Shape", "Gradient", "Cost", "Precision", "Dtype", "Attributes")
SECTIONS += ("Raises", "Example", "References", "Specification")
INLINE = re.compile(rf"({'|'.join(SECTIONS)}): (\S.*)")
LITERAL = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


def expand(lines: list[str]) -> list[str]:
    """Give each section its own heading line, with an empty line before it."""
    result: list[str] = []
    for line in lines:
        found = INLINE.fullmatch(line)
        if found or line.removesuffix(":") in SECTIONS:
            result += ["", f"{found[1] if found else line.removesuffix(':')}:"]
            result += [f"    {found[2]}"] if found else []
        elif found is None and result and line[:1].strip() and result[-1][:1] == " ":
            result += ["", line]
        else:
            result.append(line)
    return result


def escape(lines: list[str]) -> list[str]:
    """Escape the characters of formulas that are markup, outside of literals and of examples."""
    parts = LITERAL.split("\n".join(lines))
    parts[::2] = [re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).split("\n")


def cost(name: str) -> str | None:
    """Return the section ``Cost:`` of an operator in the PyTorch namespace."""
    file = Path(bilinear.__file__).parent / "backends" / "torch" / f"{name}.py"
    if not file.is_file():
        return None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    (function,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    found = re.search(r"^Cost: (.*(?:\n +.*)*)", ast.get_docstring(function) or "", re.MULTILINE)
    return " ".join(found[1].split()) if found else None


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    package, _, operator = name.rpartition(".")
    found = cost(operator) if package == "bilinear.reference" else None
    lines[:] = escape(expand([*lines, *([f"Cost: {found}"] if found else [])]))


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
