"""Code that reproduces a failure."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import Case
from .driver import Driver

HEADING = "to reproduce, in the folder of your tests"

SECTIONS = False
"""Set by the plugin, which prints the code in its own section."""


def run(check: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Call ``check(*arguments, **options)``, and attach the `snippet` of the call to its errors."""
    __tracebackhide__ = True
    try:
        check(*arguments, **options)
    except Exception as error:  # a backend may raise anything
        lines = snippet(check, *arguments, **options)
        error.snippet = lines  # type: ignore[attr-defined]
        if not SECTIONS:
            error.add_note(f"\n{HEADING}\n\n{lines}")
        raise


def snippet(check: Callable[..., None], *arguments: Any, **options: Any) -> str:
    """Return Python code of the same call, with all array values."""
    lines = [
        "import numpy as np",
        "from numpy import inf, nan",
        "from bilinear.testing import Case",
        f"from {check.__module__} import {check.__name__}",
    ]
    expressions = []
    for argument in arguments:
        drivers = argument if isinstance(argument, list) else [argument]
        if drivers and all(isinstance(d, Driver) for d in drivers):
            names = [f"driver_{i}" if i else "driver" for i in range(len(drivers))]
            lines += [_import_line(d, name) for d, name in zip(drivers, names, strict=True)]
            many = isinstance(argument, list)
            expressions.append(f"[{', '.join(names)}]" if many else names[0])
        else:
            expressions.append(literal(argument))
    expressions += [f"{name}={literal(value)}" for name, value in options.items()]
    indented = "".join(f"    {text},\n" for text in expressions)
    kinds = {type(v) for a in arguments if isinstance(a, Case) for v in a.options.values()}
    kinds = {kind for kind in kinds if hasattr(kind, "_fields")}
    lines += [f"from {kind.__module__} import {kind.__name__}" for kind in kinds]
    return "\n".join([*lines, f"{check.__name__}(\n{indented})"])


def literal(value: Any) -> str:
    """Return an expression for `value`; arrays have the same dtype and memory order."""
    if isinstance(value, np.ndarray):
        if value.ndim == 3 and value.size > 1 and not value.flags.c_contiguous:
            return f"{literal(np.ascontiguousarray(value.swapaxes(1, 2)))}.swapaxes(1, 2)"
        shaped = f".reshape({value.shape})" if value.size == 0 else ""
        return f"np.array({value.tolist()}, {value.dtype.name!r}){shaped}"
    if isinstance(value, Case):
        return f"Case({literal(value.arrays)}, {literal(value.options)})"
    if isinstance(value, tuple | list):
        inner = "".join(f"{literal(item)}, " for item in value)
        name = type(value).__name__ if hasattr(value, "_fields") else ""
        return f"{name}({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _import_line(driver: Driver, name: str) -> str:
    """Return the import of a driver by its name in a module, or by its index in a battery."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__name__", "__main__")
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is driver and path != "__main__":
                return f"from {path} import {attribute} as {name}"
            if type(value) is type and driver in value.__dict__.get("drivers", ()):
                index = value.__dict__["drivers"].index(driver)
                return f"from {path} import {attribute}\n{name} = {attribute}.drivers[{index}]"
    return f"{name} = ...  # the Driver called {driver.name!r}"
