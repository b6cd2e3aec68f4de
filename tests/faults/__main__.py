"""Plant every fault, one at a time, and run the tests that must find it.

    python -m tests.faults                        all of them, on the quick suite
    python -m tests.faults --full                 all of them, on everything that `nox -s full` runs
    python -m tests.faults --only "1/L" jax       those whose line contains every one of the words
    python -m tests.faults --every 3              every third fault

A fault is caught if a test fails because of it. A fault that survives, or whose own code raises an
error, makes the command fail.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from pathlib import Path

import pytest

from .. import conftest  # noqa: F401 - sets environment variables before frameworks are imported
from . import CRASHED, Fault
from .table import FAULTS

FAILED, NOT_RUN, SECONDS, WORKERS = 1, 98, 900, 2
"""Exit statuses: failed tests, fault not planted. Seconds for a fault. Processes at once."""
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
CAUGHT = "caught"


def namespaces_of(fault: Fault) -> tuple[str, ...]:
    return fault.namespaces or (() if fault.framework == "none" else (fault.framework,))


def run_group(namespaces: tuple[str, ...], faults: list[Fault], folder: Path, full: bool) -> int:
    """Start a process that imports the frameworks once, and then plants fault after fault."""
    child = os.fork()
    if child:
        return child
    os.environ["BILINEAR_TEST_NAMESPACES"] = ",".join(namespaces) or "none"
    os.environ["HYPOTHESIS_PROFILE"] = f"{'default' if full else 'quick'}, unshrunk"
    import_frameworks(namespaces)
    for number, fault in enumerate(faults):
        report = folder / f"{os.getpid()}.{number}"
        run_fault(fault, report, full)
        state, seconds = verdict(report)
        print(f"{fault!s:75} {seconds:5.0f} s  {state}", flush=True)
    os._exit(0)


def import_frameworks(namespaces: tuple[str, ...]) -> None:
    subjects = importlib.import_module("tests.subjects")
    for name in namespaces:
        subjects.driver(name)


def run_fault(fault: Fault, report: Path, full: bool) -> None:
    """Run the tests of a fault in a new process, and write its output to `report`."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        output = os.open(report, os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
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
    end = f"{status} {time.monotonic() - start:.1f}"
    Path(f"{report}.status").write_text(end)


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


def verdict(report: Path) -> tuple[str, float]:
    """Return the result of a fault in words, and its run time in seconds."""
    status, seconds = Path(f"{report}.status").read_text().split()
    lines = report.read_text(errors="replace").splitlines()
    found = [line for line in lines if line.startswith("FAILED ")]
    if int(status) == FAILED and found:
        return f"{CAUGHT} by {found[0].removeprefix('FAILED ')[:120]}", float(seconds)
    if int(status) == 0:
        return "SURVIVED", float(seconds)
    word = "CRASHED" if int(status) == CRASHED else f"NOT TESTED (status {status})"
    return f"{word}: {' | '.join(lines[-4:])[-400:]}", float(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="words that a fault's line contains")
    parser.add_argument("--every", type=int, default=1, help="take every n-th fault")
    parser.add_argument("--full", action="store_true", help="run the full suite's tests")
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
    jobs = [(names, group[i::2]) for names, group in groups.items() for i in (0, 1)]
    with tempfile.TemporaryDirectory() as name:
        running = set()
        for namespaces, faults in jobs:
            if len(running) == WORKERS:
                running.remove(os.wait()[0])
            running.add(run_group(namespaces, faults, Path(name), arguments.full))
        for process in running:
            os.waitpid(process, 0)
        reports = [Path(f"{path}".removesuffix(".status")) for path in Path(name).glob("*.status")]
        caught = sum(verdict(report)[0].startswith(CAUGHT) for report in reports)
    print(f"\n{caught} of {len(chosen)} faults caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
