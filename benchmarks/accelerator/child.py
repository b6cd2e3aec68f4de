"""One part of the check for one framework, in its own process: rows as lines of JSON on stdout.

The first line lists the items of the part. An item that fails is a row with its error. After a
time limit, no further item starts.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType

Items = Mapping[str, Callable[[], dict]]
"""Name of an item -> a call that returns its row."""


def short(error: BaseException) -> str:
    """The type of an error and the beginning of its message, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:240]}"


def rows(
    part: str, framework: str, device: str, operators: Collection[str], until: float
) -> Iterator[dict]:
    """Run the items of a part until a time as in `time.time`; yield their names, then the rows."""
    adapter = importlib.import_module(f"{__package__}.{framework}")
    if adapter.name(device) is None:
        raise RuntimeError(f"{framework} finds no GPU")
    items = importlib.import_module(f"{__package__}.{part}").items(adapter, device, operators)
    yield {"planned": [*items]}
    for name, run in items.items():
        if time.time() > until:
            return
        begin = time.time()
        row = run_item(run)
        if "error" in row:
            _release(adapter)
        yield {"item": name, **row, "seconds": round(time.time() - begin, 2)}


def _release(adapter: ModuleType) -> None:
    """Free what the frames of an error hold on the device."""
    with contextlib.suppress(Exception):
        gc.collect()
        adapter.release_memory()


def run_item(run: Callable[[], dict]) -> dict:
    try:
        return run()
    except Exception as error:
        return {"error": short(error)}


def working_calls(
    calls: Mapping[str, Callable[[], object]], adapter: ModuleType
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Run each call once. Return those that succeed, and the errors of the others."""
    working, errors = {}, {}
    for name, call in calls.items():
        try:
            adapter.wait(call())
            working[name] = call
        except Exception as error:
            errors[name] = short(error)
        if name in errors:
            _release(adapter)
    return working, errors


def clock(adapter: ModuleType) -> Callable[[Callable[[], object]], float]:
    """Return a function that measures the seconds of a call; short calls are repeated for 5 ms."""

    def seconds(run: Callable[[], object]) -> float:
        once = adapter.seconds(run, 1)
        return once if once > 2e-3 else adapter.seconds(run, min(50, int(5e-3 / once) + 1))

    return seconds


def main() -> None:
    part, framework, device, operators, until = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not mix with the rows
    write = functools.partial(print, file=out, flush=True)
    try:
        for row in rows(part, framework, device, json.loads(operators), float(until)):
            write(json.dumps(row))
    except Exception as error:
        write(json.dumps({"item": "start", "error": short(error)}))
        raise


if __name__ == "__main__":
    main()
