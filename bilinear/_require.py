"""Which door needs which framework, and how it is told that one is missing.

No door, no framework: `import bilinear` imports none of them, and a door imports its own only
when it is opened. An absent framework is not a broken one: the first gets one sentence with
the pip line that mends it, the second shows its own error, unchanged.
"""

import importlib
import importlib.util

BACKENDS = {
    # door: (import names, extra)
    "torch": (("torch",), "torch"),
    "tensorflow": (("tensorflow", "keras"), "tensorflow"),
    "jax": (("jax", "flax"), "jax"),
}


def available(door: str) -> bool:
    """Whether everything the door imports is installed (which is not to say it works)."""
    return not _absent(BACKENDS[door][0])


def require(door: str) -> None:
    """ImportError with the cure if a framework of `door` is absent, its own if it is broken."""
    names, extra = BACKENDS[door]
    require_packages(f"bilinear.{door}", names, extra)


def require_packages(module: str, names: tuple[str, ...], extra: str) -> None:
    """Import all of `names`, or say that `module` needs them and which extra brings them."""
    if missing := _absent(names):
        raise ImportError(
            f"{module} needs {' and '.join(missing)}, not installed here; "
            f"pip install 'bilinear[{extra}]' installs what it needs."
        )
    for name in names:
        importlib.import_module(name)


def _absent(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]
