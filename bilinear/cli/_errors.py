"""Conversion of exceptions to a one-line message and an exit code.

0    success
1    some inputs failed and are named on stderr; the others were processed
2    invalid arguments or file, a missing package, a full disk, or a loss that is not finite
3    an unexpected error: out of memory, an error of the framework, a bug in this program
130  interrupted by Ctrl-C
141  stdout was closed (broken pipe, for example by ``| head``); the command stopped
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
BROKEN_PIPE = 128 + 13
"""The exit code that a shell reports for a process killed by SIGPIPE."""


@dataclass
class Settings:
    """Options that stand before the name of the command."""

    traceback: bool = False


def run_guarded(settings: Settings, call: Callable[[], Any]) -> int:
    """Call a function and return the exit code: 0 unless it raises or returns an integer."""
    try:
        with warnings.catch_warnings():
            if not settings.traceback:
                warnings.showwarning = _show_warning
            code = call()
        sys.stdout.flush()  # here a broken pipe can still be reported
    except (BrokenPipeError, SystemExit) as error:
        # Typer converts a BrokenPipeError to SystemExit
        broken = error if isinstance(error, BrokenPipeError) else error.__context__
        if not isinstance(broken, BrokenPipeError):
            raise
        code = BROKEN_PIPE
        _discard_output()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if settings.traceback:
            traceback.print_exc()
        code, text = _code_and_message(error)
        say(f"bilinear: {text}")
    if code == INTERRUPTED:
        say("bilinear: interrupted")
    return code if isinstance(code, int) else 0


def _show_warning(warning: Warning | str, *_: object) -> None:
    """Print a warning in one line, without its source location."""
    say(f"bilinear: warning: {' '.join(str(warning).split())}")


def _discard_output() -> None:
    """Redirect stdout and stderr to the null device, so that flushing at exit cannot fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in sys.stdout, sys.stderr:
        os.dup2(null, stream.fileno())


def _code_and_message(error: Exception) -> tuple[int, str]:
    """The exit code and the one-line message of an exception."""
    if format_message := getattr(error, "format_message", None):  # an error of the parser
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "bilinear"
        return REFUSED, f"{format_message()} `{path} --help` lists the arguments."
    if isinstance(error, ValueError | TypeError | OSError | ImportError | FloatingPointError):
        return REFUSED, one_line(error)
    hint = "(`bilinear --traceback …` shows the traceback)"
    return UNEXPECTED, f"unexpected {type(error).__name__}: {one_line(error)} {hint}"


def one_line(error: Exception) -> str:
    """The message of an exception in one line. For an OSError the file comes first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}. Check the path and the disk."
    return " ".join(str(error).split())
