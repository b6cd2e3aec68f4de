"""From exceptions to one sentence and an exit code that scripts can trust.

0    all that was asked is done
1    some inputs failed, each named on stderr; the others are done
2    refused: arguments, a file, a missing package, a disk without room, a loss that is no number
3    an unexpected failure: memory, the framework, a fault of this program
130  interrupted by Ctrl-C
141  nobody reads what it prints any more, as behind `| head`: the rest is left undone
"""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from ._console import say

SOME_FAILED, REFUSED, UNEXPECTED, INTERRUPTED = 1, 2, 3, 130
UNREAD = 128 + 13
"""What a shell says of a program that SIGPIPE ended."""


@dataclass
class Settings:
    """The options in front of the command."""

    traceback: bool = False


def guarded(settings: Settings, call: Callable[[], Any]) -> int:
    """The exit code of `call`, which is 0 unless it raises, or returns a number."""
    try:
        with warnings.catch_warnings():
            if not settings.traceback:
                warnings.showwarning = _warned
            code = call()
        sys.stdout.flush()  # the interpreter would do it too late to say how it went
    except (BrokenPipeError, SystemExit) as error:
        # the parser makes the second of the first
        broken = error if isinstance(error, BrokenPipeError) else error.__context__
        if not isinstance(broken, BrokenPipeError):
            raise
        code = UNREAD
        _discard()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if settings.traceback:
            traceback.print_exc()
        code, text = _judged(error)
        say(f"bilinear: {text}")
    if code == INTERRUPTED:
        say("bilinear: interrupted")
    return code if isinstance(code, int) else 0


def _warned(warning: Warning | str, *_: object) -> None:
    """A warning as the command line says things, without the place in the source."""
    say(f"bilinear: warning: {' '.join(str(warning).split())}")


def _discard() -> None:
    """What is still buffered goes nowhere, rather than into an error at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in sys.stdout, sys.stderr:
        os.dup2(nowhere, stream.fileno())


def _judged(error: Exception) -> tuple[int, str]:
    """The exit code of an exception, and its sentence."""
    if words := getattr(error, "format_message", None):  # the parser's, wherever Typer has it from
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "bilinear"
        return REFUSED, f"{words()} `{path} --help` lists the arguments."
    if isinstance(error, ValueError | TypeError | OSError | ImportError | FloatingPointError):
        return REFUSED, sentence(error)
    where = "(`bilinear --traceback …` shows where)"
    return UNEXPECTED, f"unexpected {type(error).__name__}: {sentence(error)} {where}"


def sentence(error: Exception) -> str:
    """What an exception says, in one line; of the system's own errors the file comes first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}. Check the path and its disk."
    return " ".join(str(error).split())
