"""Planted faults, which test the tests: each fault is planted at run time and must make tests fail.

A fault wraps public functions of the library in the running process. It does not change source
text, so that it survives a refactoring. ``python -m tests.faults`` plants one fault at a time.
"""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FRAMEWORKS = ("torch", "tensorflow", "jax")


@dataclass(frozen=True)
class Fault:
    """A mistake and the tests that must find it.

    Attributes:
        name: what is wrong, in words.
        framework: where it is planted, or "none" for framework-free code.
        plant: plants it in this process.
        tests: arguments of pytest that select the tests.
        namespaces: frameworks that these tests need; by default that of the fault.
    """

    name: str
    framework: str
    plant: Callable[[], None]
    tests: tuple[str, ...]
    namespaces: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} in {self.framework}"


class Table(dict[tuple[str, str], Callable[..., Any]]):
    """(operator or layer, name of the fault) -> the faulty function."""

    def enter(self, subject: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a faulty function that enters the table."""

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            assert (subject, name) not in self
            self[subject, name] = function
            return function

        return decorate


PLANTED = "BILINEAR_TEST_FAULT"
"""Variable of the environment with the text of the fault that is planted."""
CRASHED = 99
"""Exit status of a process in which the planted code itself raised an error."""


def wrap(owner: Any, name: str, faulty: Callable[..., Any]) -> None:
    """Replace ``owner.name`` by ``faulty(original, *arguments, **options)``.

    An error of the original function passes through. An error of the faulty code ends the process:
    tests that fail because of it have found nothing.
    """
    original = getattr(owner, name)

    class Original(Exception):
        """Carries an error of the original function through the faulty code."""

    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return original(*arguments, **options)
        except Exception as error:
            raise Original from error

    @functools.wraps(original)
    def planted(*arguments: Any, **options: Any) -> Any:
        try:
            return faulty(called, *arguments, **options)
        except Original as error:
            raise (error.__cause__ or error) from None
        except Exception:
            os.write(2, traceback.format_exc().encode())
            os._exit(CRASHED)

    replacement = staticmethod(planted) if is_static(owner, name) else planted
    for holder in [owner, *library_modules()]:  # a function may be imported into other modules
        if vars(holder).get(name) is original or holder is owner:
            setattr(holder, name, replacement)


def library_modules() -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("bilinear.")]


def is_static(owner: Any, name: str) -> bool:
    return isinstance(vars(owner).get(name), staticmethod) if isinstance(owner, type) else False
