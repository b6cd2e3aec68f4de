"""A pytest plugin that reports the largest ratios of error to bound, and what is not covered.

It also prints code that reproduces a failure. Use it with
``pytest -p bilinear.testing.plugin --ratios=ratios.json`` or in ``pytest_plugins`` of a conftest.
The battery works without it.
"""

from pathlib import Path
from typing import Any

import pytest

from . import ratios, reproduce
from .battery import NOT_COVERED
from .tolerances import SLACK


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--ratios",
        type=Path,
        help="write the largest ratios of error to bound as JSON, and as markdown with suffix .md",
    )


def pytest_configure() -> None:
    reproduce.SECTIONS = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo) -> Any:
    report = yield
    if lines := getattr(call.excinfo and call.excinfo.value, "snippet", None):
        report.sections.append((reproduce.HEADING, lines))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the ratios from a pytest-xdist worker to the controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ratios"] = ratios.dump()  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    ratios.merge(getattr(node, "workeroutput", {}).get("ratios", []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [
        report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple | list)
    ]
    if lacking := [reason.partition(NOT_COVERED)[2] for reason in reasons if NOT_COVERED in reason]:
        terminalreporter.section("not covered")
        for line in lacking:
            terminalreporter.line(line)
    if ratios.WORST:
        terminalreporter.section(f"largest ratio of error to bound ({SLACK:g} is allowed)")
        for line in ratios.table():
            terminalreporter.line(line)
        if path := config.getoption("--ratios"):
            ratios.write(path)
