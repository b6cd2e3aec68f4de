"""A pytest plugin: the table of worst ratios, in the terminal and as JSON.

``pytest -p bilinear.testing.plugin --ratios=ratios.json``, or ``pytest_plugins`` of a conftest.
The battery runs without it too.
"""

from pathlib import Path
from typing import Any

import pytest

from . import ratios
from .tolerances import SLACK


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ratios", type=Path, help="write the worst ratios, error to bound, as JSON")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its ratios over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ratios"] = ratios.dumped()  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    ratios.merge(getattr(node, "workeroutput", {}).get("ratios", []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if ratios.WORST:
        terminalreporter.section(f"worst ratio of error to bound ({SLACK:g} is allowed)")
        for line in ratios.table():
            terminalreporter.line(line)
        if path := config.getoption("--ratios"):
            ratios.write(path)
