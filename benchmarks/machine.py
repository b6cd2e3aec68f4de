"""A one-line description of the machine and the versions, printed with every table."""

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
"""Framework -> its pip packages."""

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""Environment variable that selects TensorFlow's CPU kernels."""

NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
"""Hides GPUs from all frameworks. JAX and TensorFlow use every GPU that they find."""


def describe(frameworks: Iterable[str], device: str, threads: int) -> str:
    """Describe processor, cores, threads, device, versions and TensorFlow kernels."""
    packages = [package for framework in frameworks for package in PACKAGES[framework]]
    versions = [f"{package} {metadata.version(package)}" for package in packages]
    fewer = f"{threads} threads (memory: 1 thread)" if threads > 1 else "1 thread"
    where = f"Machine: {processor()}, {os.cpu_count()} cores, device {device}, {fewer}."
    listed = ", ".join([f"Python {platform.python_version()}", *versions])
    variable = ""
    if "tensorflow" in frameworks and ONEDNN in os.environ:
        variable = f" Environment: {ONEDNN}={os.environ[ONEDNN]}."
    return f"{where} Versions: {listed}.{variable}"


def gpu(framework: str) -> str | None:
    """The name of the GPU that a framework uses, or None. Imports the framework."""
    return importlib.import_module(f"{__package__}.{framework}").gpu()


def processor() -> str:
    """The name of the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (*names, platform.processor() or platform.machine())[0]
