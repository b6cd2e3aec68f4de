"""One bounded, deterministic setting for every test; the header says what could be tested."""

import os

# Read by the frameworks when they are imported, so they are set before any driver is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["BILINEAR_TEST_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["BILINEAR_TEST_THREADS"]
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the plain kernels: rounding as analysed
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched but by the loopback test

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bilinear._require import BACKENDS, available

from . import ratios
from .tolerances import SLACK

hypothesis.settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,  # a first call compiles
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "thorough", parent=hypothesis.settings.get_profile("default"), max_examples=250
)
hypothesis.settings.register_profile(  # for those who only ask whether something fails
    "unshrunk",
    parent=hypothesis.settings.get_profile("default"),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="cpu, or the accelerator: cuda")
    parser.addoption("--ratios", type=Path, help="write the worst ratios, error to bound, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["BILINEAR_TEST_DEVICE"] = config.getoption("--device")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its ratios over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ratios"] = ratios.dumped()


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


def pytest_report_header(config: pytest.Config) -> list[str]:
    doors = [
        f"{door} {importlib.metadata.version(names[0])}" if available(door) else f"{door} absent"
        for door, (names, _) in BACKENDS.items()
    ]
    compiler = shutil.which("c++") or shutil.which("g++")
    return [
        f"doors: {', '.join(doors)}; device: {config.getoption('--device')}",
        f"C++ compiler: {'present' if compiler else 'absent, torch.compile tests are skipped'}",
    ]
