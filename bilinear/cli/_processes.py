"""A command in several processes: one of them prints."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

from ..train import Processes, join
from ._errors import ReportedElsewhereError


@contextmanager
def joined(framework: str, device: str | None) -> Iterator[Processes]:
    """Join the processes; in the block, process 0 alone has stdout and stderr.

    An error of the block is raised in the process that fails first, and
    `ReportedElsewhereError` in the others.
    """
    with join(framework, device) as processes:
        try:
            with ExitStack() as stack:
                if processes.rank:
                    nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                    stack.enter_context(redirect_stdout(nowhere))
                    stack.enter_context(redirect_stderr(nowhere))
                yield processes
        except (Exception, KeyboardInterrupt) as error:
            if processes.fails_first():
                raise
            raise ReportedElsewhereError from error
