"""Run `bilinear` with other libraries, and print a table of the results.

    python -m examples.interoperability                  all checks whose packages are installed
    python -m examples.interoperability timm sklearn     those that need one of these packages

The networks are tiny and have random weights; nothing is downloaded. Each check trains for a few
steps on a CPU and compares results. `docs/interoperability.md` has the code for other networks. The
exit code is 1 if a check fails.
"""

import contextlib
import importlib
import importlib.util
import sys
from importlib import metadata

from . import CHECKS, Check

DISTRIBUTIONS = {"sklearn": "scikit-learn", "keras_hub": "keras-hub"}


def run(given: Check) -> str:
    """Return ``"passed: …"``, ``"failed: …"`` or ``"not run: …"``."""
    if missing := [name for name in given.packages if importlib.util.find_spec(name) is None]:
        return f"not run: {', '.join(missing)} not installed"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # of what the libraries print
            return f"passed: {given.run(*map(importlib.import_module, given.packages))}"
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"


def versions(packages: tuple[str, ...]) -> str:
    """Names and versions of the packages that are installed, and of the backend of Keras."""
    if "keras" in packages:
        packages = *packages, importlib.import_module("keras").backend.backend()
    found = ((name, DISTRIBUTIONS.get(name, name)) for name in packages)
    known = (name for package, name in found if importlib.util.find_spec(package))
    return ", ".join(f"{name} {metadata.version(name)}" for name in known)


def main(only: list[str]) -> int:
    failed = 0
    print("| versions | what | result |\n| --- | --- | --- |", flush=True)
    # Keras last: torchvision 0.29 cannot be imported after TensorFlow
    for name in ("descriptors", "torch", "keras"):
        done = len(CHECKS)
        if name == "descriptors" or importlib.util.find_spec(name):
            importlib.import_module(f"{__package__}.{name}")
        for given in CHECKS[done:]:
            if not only or {*only} & {*given.packages}:
                result = run(given)
                failed += result.startswith("failed")
                print(f"| {versions(given.packages)} | {given.title} | {result} |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    if {"-h", "--help"} & {*sys.argv}:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
