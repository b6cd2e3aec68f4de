"""Docstrings of this package as reStructuredText with Google sections.

- A section in one line, ``Shape: x (N, L, C) -> (N, C)``, becomes one with its own heading.
- An indented block after a paragraph is code.
- ``*`` and ``|`` outside of literals are escaped; in formulas they are not markup.
- The specification of an operator gets the cost that its PyTorch version states.
"""

import ast
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.domains.python import PythonDomain
from sphinx.pycode import ModuleAnalyzer

import bilinear

SECTIONS = ("Args", "Returns", "Shape", "Gradient", "Cost", "Precision", "Dtype", "Attributes")
SECTIONS += ("Raises", "Example", "References", "Specification")
SECTION = re.compile(rf"({'|'.join(SECTIONS)}):(?: (\S.*))?")
ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[[^]]*\]\]")
LITERAL = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


def expand(lines: list[str]) -> list[str]:
    """Give each section its own heading line, and mark indented blocks of code as literal."""
    result: list[str] = []
    for line in lines:
        before, blank = (["", "", *result])[-2:]
        if found := SECTION.fullmatch(line):
            heading, text = found[1], found[2] or ""
            text = text[:1].upper() + text[1:] if heading == "Cost" else text
            result += ["", f"{heading}:", *([f"    {text}"] if text else [])]
        elif line[:1].strip() and blank[:1] == " ":  # the end of a section
            result += ["", line]
        elif line[:1] == " " and not blank and before[:1].strip() and not before.endswith("::"):
            result += ["::", "", line]
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


def comment(attribute: str, value: Any) -> list[str]:
    """Return the docstring of a value below its assignment, in the module that defines it."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("bilinear.") and vars(module).get(attribute) is value:
            found = ModuleAnalyzer.for_module(name).find_attr_docs().get(("", attribute))
            if found:
                return [*found]
    return []


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    package, _, last = name.rpartition(".")
    if what == "data":  # its own docstring would be that of its type
        lines[:] = comment(last, obj)
    if package == "bilinear.reference" and (found := cost(last)):
        lines += ["", f"Cost: {found}"]
    lines[:] = escape(expand(lines))


def shorten(app: Any, what: str, name: str, obj: Any, options: Any, *texts: str | None) -> Any:
    """Write an array of any dtype and shape as ``ndarray`` in a signature."""
    return tuple(text and ARRAY.sub("ndarray", text) for text in texts)


class Domain(PythonDomain):
    """Python names without those of the modules that define them; several namespaces share some."""

    def note_object(self, *arguments: Any, aliased: bool = False, **options: Any) -> None:
        if not aliased:
            super().note_object(*arguments, **options)


def setup(app: Any) -> dict[str, bool]:
    app.add_domain(Domain, override=True)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
