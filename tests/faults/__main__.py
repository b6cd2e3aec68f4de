"""Plant every fault, one at a time, and run the tests that must find it.

    python -m tests.faults                        all of them, on the quick suite
    python -m tests.faults --full                 then on every test, if the quick suite misses it
    python -m tests.faults --only "1/L" jax       those whose line contains every one of the words
    python -m tests.faults --every 3              every third fault

A fault is caught if a test fails because of it. A fault that survives, or whose own code raises an
error, makes the command fail.
"""

import argparse
import importlib
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from typing import Any

import pytest

from .. import conftest  # noqa: F401 - sets environment variables before frameworks are imported
from . import CRASHED, PLANTED, Fault
from .table import FAULTS

FAILED, NOT_RUN, SECONDS, WORKERS = 1, 98, 900, 2
"""Exit statuses: failed tests, fault not planted. Seconds for a fault. Processes at once."""
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
CAUGHT = "caught"
FORK = multiprocessing.get_context("fork")
FREE = FORK.Semaphore(WORKERS)


def namespaces_of(fault: Fault) -> tuple[str, ...]:
    return fault.namespaces or (() if fault.framework == "none" else (fault.framework,))


def run_group(namespaces: tuple[str, ...], faults: list[Fault], full: bool, caught: Any) -> None:
    """Import the frameworks once, run fault after fault, and count those that are caught."""
    os.environ["BILINEAR_TEST_NAMESPACES"] = ",".join(namespaces) or "none"
    with FREE:
        subjects = importlib.import_module("tests.subjects")
        for name in namespaces:
            subjects.driver(name)
        for fault in faults:
            start = time.monotonic()
            state = run_fault(fault, full=False)
            if full and not state.startswith(CAUGHT):
                state = run_fault(fault, full=True)
            print(f"{fault!s:75} {time.monotonic() - start:5.0f} s  {state}", flush=True)
            with caught.get_lock():
                caught.value += state.startswith(CAUGHT)


def run_fault(fault: Fault, full: bool) -> str:
    """Run the tests of a fault in a new process, and return the result in words."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.environ[PLANTED] = str(fault)  # for processes that a test starts
            os.environ["HYPOTHESIS_PROFILE"] = f"{'default' if full else 'quick'}, unshrunk"
            status = NOT_RUN
            try:
                fault.plant()
                options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", *QUIET]
                status = int(pytest.main([*options, *(["--full"] if full else []), *fault.tests]))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        status = wait(child)
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    found = [line for line in lines if line.startswith("FAILED ")]
    if status == FAILED and found:
        return f"{CAUGHT} by {found[0].removeprefix('FAILED ')[:120]}"
    if status == 0:
        return "SURVIVED"
    word = "CRASHED" if status == CRASHED else f"NOT TESTED (status {status})"
    return f"{word}: {' | '.join(lines[-4:])[-400:]}"


def wait(child: int) -> int:
    """Return the exit status of a process, which is killed after the time limit."""
    for _ in range(10 * SECONDS):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="words that a fault's line contains")
    parser.add_argument("--every", type=int, default=1, help="take every n-th fault")
    parser.add_argument("--full", action="store_true", help="then run every test")
    parser.add_argument("--list", action="store_true", help="print the faults and stop")
    arguments = parser.parse_args()
    chosen = [f for f in FAULTS if all(word in str(f) for word in arguments.only)]
    chosen = chosen[:: arguments.every]
    if not chosen:
        parser.error("no fault has these words")
    if arguments.list:
        print(*chosen, sep="\n")
        return 0
    groups = defaultdict(list)
    for fault in chosen:
        groups[namespaces_of(fault)].append(fault)
    caught = FORK.Value("i")
    processes = [
        FORK.Process(target=run_group, args=(names, group[i::2], arguments.full, caught))
        for names, group in groups.items()
        for i in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"\n{caught.value} of {len(chosen)} faults caught")
    return int(caught.value < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
