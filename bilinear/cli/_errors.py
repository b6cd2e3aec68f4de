"""Conversion of exceptions to a one-line message and an exit code.

0    success
1    some inputs failed and are named on stderr; the others were processed
2    invalid arguments or file, a missing package, a full disk, a closed or full stdout, or a result
     or loss that is not finite
3    an unexpected error: out of memory, an error of the framework, a bug in this program
130  interrupted by Ctrl-C; 143, 129 and 138: by SIGTERM, SIGHUP and SIGUSR1
141  stdout was closed (broken pipe, for example by ``| head``); the command stopped
"""

import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from ._console import discard, say, writing_stdout

SOME_FAILED, REFUSED, UNEXPECTED, INTERRUPTED = 1, 2, 3, 130
BROKEN_PIPE = 128 + 13
"""The exit code that a shell reports for a process killed by SIGPIPE."""


@dataclass
class Settings:
    """Options that stand before the name of the command."""

    traceback: bool = False


class ReportedElsewhereError(Exception):
    """Another process of the same command reports why all of them stop."""


def run_guarded(settings: Settings, call: Callable[[], Any]) -> int:
    """Call a function and return the exit code: 0 unless it raises or returns an integer."""
    code, text = 0, ""
    with _interrupted_by_termination() as signals:
        try:
            with warnings.catch_warnings():
                if not settings.traceback:
                    warnings.showwarning = _show_warning
                code = call()
            with writing_stdout():  # here a broken pipe can still be reported
                pass
        except (BrokenPipeError, SystemExit) as error:
            # Typer converts a BrokenPipeError to SystemExit
            broken = error if isinstance(error, BrokenPipeError) else error.__context__
            if not isinstance(broken, BrokenPipeError):
                raise
            code = BROKEN_PIPE
            discard(sys.stdout)
        except ReportedElsewhereError:
            code = 128 + signals[0] if signals else REFUSED
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except Exception as error:
            if settings.traceback:
                for line in traceback.format_exc().splitlines():
                    say(line)
            code, text = _code_and_message(error)
    if code == INTERRUPTED:  # Typer converts a KeyboardInterrupt to this code
        text = "interrupted"
    if signals and text:  # workers that received the signal too may have caused another error
        code, text = 128 + signals[0], "terminated"
    if text:
        say(f"bilinear: {text}")
    if code:
        _discard_what_cannot_be_written()
    return code if isinstance(code, int) else 0


@contextmanager
def _interrupted_by_termination() -> Iterator[list[int]]:
    """Treat signals of clusters as Ctrl-C, so that nothing is left behind; list those received."""
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        handler = signal.getsignal(signal.SIGINT)  # the one that saves the state of a run, if any
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    names = "SIGTERM", "SIGHUP", "SIGUSR1"
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _show_warning(warning: Warning | str, *_: object) -> None:
    """Print a warning in one line, without its source location."""
    say(f"bilinear: warning: {' '.join(str(warning).split())}")


def _discard_what_cannot_be_written() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)


def _code_and_message(error: Exception) -> tuple[int, str]:
    """The exit code and the one-line message of an exception."""
    if format_message := getattr(error, "format_message", None):  # an error of the parser
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "bilinear"
        return REFUSED, f"{' '.join(format_message().split())} `{path} --help` lists the arguments."
    if isinstance(error, ValueError | TypeError | OSError | ImportError | FloatingPointError):
        return REFUSED, one_line(error)
    hint = "(`bilinear --traceback …` shows the traceback)"
    return UNEXPECTED, f"unexpected {type(error).__name__}: {one_line(error)} {hint}"


def one_line(error: Exception) -> str:
    """The message of an exception in one line. For an OSError the file comes first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}. Check the path and the disk."
    return " ".join(str(error).split())
