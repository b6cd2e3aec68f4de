"""The table of faulty operators, each written once and planted in every framework.

A faulty operator is called as ``faulty(a, ops, f, *arrays, **options)``: `a` holds the array
functions of the framework, `ops` its operators, and `f` is the correct operator. Values are
changed directly. Gradients are changed by terms of value 0: ``x - stop(x)`` has the slope 1, its
square has the slope 0 and the second derivative 2.
"""

import functools
import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from . import FRAMEWORKS, Fault, Table, wrap
from .arrays import arrays

FAULTY = Table()
fault = FAULTY.enter


def plant(op: str, faulty: Callable[..., Any], framework: str) -> None:
    """Replace the operator in its namespace."""
    namespace = importlib.import_module(f"bilinear.{framework}")
    a = arrays(framework)
    ops = SimpleNamespace(**{name: getattr(namespace, name) for name in namespace.__all__})

    def on_arrays(f: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        known = [x if x is None else a.array(x) for x in arguments]
        masked = {k: v if v is None or k != "mask" else a.array(v) for k, v in options.items()}
        return faulty(a, ops, f, *known, **masked)

    wrap(namespace, op, on_arrays)


def faults() -> list[Fault]:
    """Every fault of the table in every framework."""
    return [
        Fault(
            f"{op}: {name}",
            framework,
            functools.partial(plant, op, function, framework),
            (f"tests/operators/test_{op}.py", "-k", "not compile"),
        )
        for (op, name), function in FAULTY.items()
        for framework in FRAMEWORKS
    ]
