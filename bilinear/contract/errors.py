"""The one form of every error text: requirement, received value, remedy."""

from collections.abc import Callable
from typing import NoReturn


def message(op: str, requirement: str, received: str, remedy: str = "") -> str:
    """``"{op}: {requirement}; got {received}. {remedy}"``."""
    return f"{op}: {requirement}; got {received}. {remedy}".rstrip()


def refuse(
    kind: Callable[[str], Exception], op: str, requirement: str, received: str, remedy: str = ""
) -> NoReturn:
    """Raise an error of this kind with `message`."""
    raise kind(message(op, requirement, received, remedy))


def type_name(value: object) -> str:
    """The full name of the type of `value`, such as ``"builtins.str"``."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
