"""The built site in headless Chromium; ``nox -s docs`` builds it and runs these tests."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bilinear import reference

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

SITE = Path(__file__).parents[2] / "out" / "site"
FILES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
SOURCES = [name for name in FILES if name.startswith("_modules/")]
PAGES = [name for name in FILES if not name.startswith("_static/") and name not in SOURCES[1:]]
"""All but the pages of source code after the first, which have the same template."""
OPERATORS = [name for name in reference.__all__ if not name.endswith("_vjp")]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not PAGES, reason="the site has not been built"),
    pytest.mark.skipif(not BROWSER, reason=f"no browser on PATH: {', '.join(NAMES)}"),
]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(SITE))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page whose list `problems` has errors of the console and requests to other hosts."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--disable-gpu"])
        page = browser.new_context(viewport=DESKTOP).new_page()
        page.problems = []

        def note(text: str) -> None:
            page.problems.append(text)

        page.on("console", lambda m: m.type in ("error", "warning") and note(m.text))
        page.on("response", lambda r: r.status >= 400 and note(f"{r.status}: {r.url}"))
        page.on("pageerror", lambda error: note(str(error)))
        # the next page aborts requests of this one; what does not exist is a response with 404
        aborted = "net::ERR_ABORTED"
        page.on("requestfailed", lambda r: r.failure == aborted or note(f"failed: {r.url}"))
        page.on("request", lambda r: r.url.startswith((address, "data:")) or note(r.url))
        yield page
        browser.close()


def test_every_page_has_no_error_and_fits_a_phone(page: Any, address: str) -> None:
    """No error in the console, no other host, and no horizontal scrolling of the whole page."""
    found = {}
    for name in PAGES:
        page.problems.clear()
        page.set_viewport_size(DESKTOP)
        page.goto(f"{address}/{name}")
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            width = page.evaluate("document.scrollingElement.scrollWidth")
            if width > size["width"]:
                page.problems.append(f"{width} pixels wide at {size['width']}")
        if page.problems:
            found[name] = [*page.problems]
    assert found == {}


def test_mathematics_is_typeset(page: Any, address: str) -> None:
    """Numerators are above denominators, no element is an error, and no LaTeX is left."""
    page.set_viewport_size(DESKTOP)
    fractions = 0
    for name in OPERATORS:
        page.goto(f"{address}/formulas/{name}.html")
        assert page.locator("article math").count() > 0
        assert page.locator("merror").count() == 0
        assert "\\" not in page.locator("article math").first.text_content()
        for fraction in page.locator("article mfrac").all():
            above, below = (fraction.locator(f"> :nth-child({i})").bounding_box() for i in (1, 2))
            assert above["y"] + above["height"] <= below["y"] + 1
            fractions += 1
    assert fractions


@pytest.mark.parametrize("name", OPERATORS)
def test_the_search_finds_an_operator(name: str, page: Any, address: str) -> None:
    page.goto(f"{address}/search.html?q={name}")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
    assert any(f"/formulas/{name}.html" in link for link in found)
    assert any(f"/api/bilinear.torch.{name}.html" in link for link in found)


def test_long_tables_are_sorted_and_filtered(page: Any, address: str) -> None:
    page.set_viewport_size(DESKTOP)
    page.goto(f"{address}/benchmarks.html")
    table = page.locator("table.long", has=page.get_by_role("button", name="ms")).first
    column = "rows => rows.map(row => row.cells[5].textContent).map(Number)"
    assert table.locator("tbody tr").count() > 200
    for reverse in (False, True):
        table.get_by_role("button", name="ms").click()
        values = table.locator("tbody tr").evaluate_all(column)
        assert values == sorted(values, reverse=reverse)
    table.locator("xpath=preceding::input[@type='search'][1]").fill("jax Matrix_sqrt")
    shown = table.locator("tbody tr:visible")
    assert 0 < shown.count() < 10
    assert all("matrix_sqrt" in text and "jax" in text for text in shown.all_inner_texts())
