"""Text of the repository in pages of the site.

- ``<!-- include: README.md ## Install -->`` inserts a section of a file, without a heading the
  whole file. A section ends at the next heading of its level or above, and the part below the title
  at the next heading.
- Links are relative paths in the repository, where the Markdown files are read too. In the site, a
  link to a Markdown file or a section opens its page, a link to the specification of an operator
  opens its page of formulas, and other links to files are shown as text.
"""

import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
INCLUDE = re.compile(r"^<!-- include: (\S+)(?: (#+ .*?))? -->$", re.MULTILINE)
LINK = re.compile(
    r"\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?!\w+:)(?P<target>[^()\s]+)\)"
    r"|^```.*?^```|``.*?``|`[^`\n]*`",
    re.MULTILINE | re.DOTALL,
)
"""A relative link, or code, whose content is no link."""
HEADING = re.compile(r"^(#+) ")


def section(text: str, heading: str) -> str:
    """Return a section with its heading."""
    lines = text.splitlines()
    start = lines.index(heading)
    level = len(heading.partition(" ")[0])
    code = False
    for end in range(start + 1, len(lines)):
        code ^= lines[end].startswith("```")
        found = HEADING.match(lines[end])
        if found and not code and (level == 1 or len(found[1]) <= level):
            return "\n".join(lines[start:end])
    return "\n".join(lines[start:])


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def find_pages() -> dict[tuple[str, str], Path]:
    """Return the page of each included file and section: (file, anchor) -> page."""
    pages = {}
    for page in sorted(DOCS.rglob("*.md")):
        for file, heading in INCLUDE.findall(page.read_text(encoding="utf-8")):
            pages[file, anchor(heading)] = page
    return pages


PAGES = find_pages()


def resolve(target: str, source: Path, page: Path) -> str | None:
    """Return the target of a link on a page whose text is of the file `source`, or None."""
    path, _, name = target.partition("#")
    file = Path(os.path.normpath(source.parent / path)) if path else source
    if file.suffix == ".py" and file.parent == ROOT / "bilinear" / "reference":
        found, name = DOCS / "formulas" / f"{file.stem}.md", ""
    elif file.is_relative_to(DOCS):
        found = file
    else:
        inside = file.relative_to(ROOT).as_posix()
        if (inside, name) in PAGES:
            found = PAGES[inside, name]
        elif (inside, "") in PAGES:
            found = PAGES[inside, ""]
        else:
            return None
    suffix = f"#{name}" if name else ""
    if found == page:
        return suffix or page.name
    return Path(os.path.relpath(found, page.parent)).as_posix() + suffix


def with_links(text: str, source: Path, page: Path) -> str:
    """Replace the relative links of a text."""

    def replace(found: re.Match[str]) -> str:
        if found["target"] is None:
            return found[0]
        target = resolve(found["target"], source, page)
        return found["text"] if target is None else f"[{found['text']}]({target})"

    return LINK.sub(replace, text)


def read(app: Any, docname: str, content: list[str]) -> None:
    page = DOCS / f"{docname}.md"
    if not page.is_file():
        return

    def include(found: re.Match[str]) -> str:
        source = ROOT / found[1]
        text = source.read_text(encoding="utf-8")
        return with_links(section(text, found[2]) if found[2] else text, source, page)

    content[0] = INCLUDE.sub(include, with_links(content[0], page, page))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
