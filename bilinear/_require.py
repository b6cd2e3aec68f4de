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
    return not _missing(door)


def require(door: str) -> None:
    """ImportError with the cure if a framework of `door` is absent, its own if it is broken."""
    missing = _missing(door)
    if missing:
        names = " and ".join(missing)
        raise ImportError(
            f"bilinear.{door} needs {names}, not installed here; "
            f"pip install 'bilinear[{BACKENDS[door][1]}]' installs what it needs."
        )
    for name in BACKENDS[door][0]:
        importlib.import_module(name)


def _missing(door: str) -> list[str]:
    return [name for name in BACKENDS[door][0] if importlib.util.find_spec(name) is None]
