"""The packages that each namespace needs, and the error when one of them is not installed.

`import bilinear` imports no framework. A namespace such as `bilinear.torch` imports its own
framework. If the framework is not installed, the error names the pip command that installs it. If
the framework is installed but fails to import, its own error is shown unchanged.
"""

import importlib
import importlib.util

BACKENDS = {
    # namespace: (packages, extra)
    "torch": (("torch",), "torch"),
    "tensorflow": (("tensorflow", "keras"), "tensorflow"),
    "jax": (("jax", "flax"), "jax"),
}


def available(namespace: str) -> bool:
    """Return whether all packages of a namespace are installed. They are not imported."""
    return not _missing(BACKENDS[namespace][0])


def require(namespace: str) -> None:
    """Import the packages of a namespace.

    Raises: ImportError with the pip command if one is not installed; the package's own error if
        its import fails.
    """
    names, extra = BACKENDS[namespace]
    require_packages(f"bilinear.{namespace}", names, extra)


def require_packages(module: str, names: tuple[str, ...], extra: str) -> None:
    """Import the packages `names`, which `module` needs and `extra` installs.

    Raises: as `require`.
    """
    if missing := _missing(names):
        raise ImportError(
            f"{module} needs {' and '.join(missing)}, not installed here; "
            f"pip install 'bilinear[{extra}]' installs what it needs."
        )
    for name in names:
        importlib.import_module(name)


def _missing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]
