"""Where figures were measured, in one line, so that nobody compares those of two machines."""

import importlib
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax", "flax"),
}
"""Framework -> what it consists of, as pip names it."""

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""Which kernels TensorFlow takes on a CPU."""


def described(frameworks: Iterable[str], device: str, threads: int) -> str:
    """Processor, cores and threads, device, versions, and what TensorFlow's kernels depend on."""
    packages = [package for framework in frameworks for package in PACKAGES[framework]]
    versions = [f"{package} {metadata.version(package)}" for package in packages]
    fewer = " (1 where memory is measured)" if threads > 1 else ""
    cores = f"{os.cpu_count()} cores, {threads} threads{fewer}"
    parts = [f"Python {platform.python_version()}", *versions]
    if "tensorflow" in frameworks and ONEDNN in os.environ:
        parts.append(f"{ONEDNN}={os.environ[ONEDNN]}")
    return f"{_processor()}, {cores}, device {device}; {', '.join(parts)}"


def gpu(framework: str) -> str | None:
    """The GPU that a framework takes, as it calls it; its import is this process's."""
    return importlib.import_module(f"{__package__}.{framework}").gpu()


def _processor() -> str:
    """As Linux calls it; elsewhere as Python does."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (*names, platform.processor() or platform.machine())[0]
