"""Where figures were measured, in one line, so that nobody compares those of two machines."""

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


def described(frameworks: Iterable[str], device: str, threads: int) -> str:
    """Processor, cores and threads, device, and versions."""
    packages = [package for framework in frameworks for package in PACKAGES[framework]]
    versions = [f"{package} {metadata.version(package)}" for package in packages]
    cores = f"{os.cpu_count()} cores, {threads} threads"
    python = f"Python {platform.python_version()}"
    return f"{_processor()}, {cores}, device {device}; {', '.join([python, *versions])}"


def _processor() -> str:
    """As Linux calls it; elsewhere as Python does."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (*names, platform.processor() or platform.machine())[0]
