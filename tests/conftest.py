"""Environment variables, Hypothesis profiles and options of all tests.

Tests with the marker ``full`` run only with ``--full``.
"""

import os
import tempfile

# Frameworks read these variables when they are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["BILINEAR_TEST_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["BILINEAR_TEST_THREADS"]
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # plain kernels, as in the error analysis
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")  # for tests of several devices
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # only the loopback test downloads
if "BILINEAR_TEST_CACHE" not in os.environ:  # one for all workers, but not for processes they kill
    _cache = tempfile.TemporaryDirectory(prefix="bilinear-tests-")
    os.environ["BILINEAR_TEST_CACHE"] = _cache.name

import importlib.metadata
import shutil
import signal

import hypothesis
import pytest

from bilinear._require import BACKENDS, available

from . import xla

if os.environ.get("BILINEAR_TEST_QUICK") == "1":
    flags = xla.options(optimize=False).items()
    os.environ["XLA_FLAGS"] = " ".join(f"--{name}={value}".lower() for name, value in flags)

pytest_plugins = ["bilinear.testing.plugin"]

hypothesis.settings.register_profile(
    "default",
    max_examples=16,
    deadline=None,  # a first call compiles
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "thorough", parent=hypothesis.settings.get_profile("default"), max_examples=250
)
hypothesis.settings.register_profile(
    "quick", parent=hypothesis.settings.get_profile("default"), max_examples=8
)
for _profile in ("default", "quick"):  # for runs that only need to know whether a test fails
    hypothesis.settings.register_profile(
        f"{_profile}, unshrunk",
        parent=hypothesis.settings.get_profile(_profile),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests marked `full` too")
    parser.addoption("--no-skips", action="store_true", help="the run fails if a test is skipped")
    parser.addoption("--device", default="cpu", help="cpu or cuda")
    parser.addoption("--tf32", action="store_true", help="allow TensorFloat-32 on GPUs")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # background jobs ignore SIGINT, and
        signal.signal(signal.SIGINT, signal.default_int_handler)  # child processes inherit this
    config.addinivalue_line("markers", "full: runs only with --full")
    os.environ["BILINEAR_TEST_FULL"] = str(int(config.getoption("--full")))
    usual = "default" if config.getoption("--full") else "quick"
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", usual))
    os.environ["BILINEAR_TEST_DEVICE"] = config.getoption("--device")
    os.environ["BILINEAR_TEST_TF32"] = str(int(config.getoption("--tf32")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from .selection import only_full  # noqa: PLC0415 - frameworks read the environment set above

    if not config.getoption("--full"):
        config.hook.pytest_deselected(items=[item for item in items if only_full(item)])
        items[:] = [item for item in items if not only_full(item)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_report_header(config: pytest.Config) -> list[str]:
    namespaces = [
        f"{name} {importlib.metadata.version(roots[0])}" if available(name) else f"{name} absent"
        for name, (roots, _) in BACKENDS.items()
    ]
    compiler = shutil.which("c++") or shutil.which("g++")
    tf32 = "on (except in JAX, whose operators request full precision)"
    return [
        f"namespaces: {', '.join(namespaces)}; device: {config.getoption('--device')}; "
        f"TensorFloat-32 {tf32 if config.getoption('--tf32') else 'off'}",
        "tests marked `full`: " + ("run" if config.getoption("--full") else "left out; --full"),
        f"C++ compiler: {'present' if compiler else 'absent, torch.compile tests are skipped'}",
    ]
