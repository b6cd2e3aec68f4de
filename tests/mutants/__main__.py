"""Plant every fault in a copy of the project and watch the suite.

    python -m tests.mutants                      all of them
    python -m tests.mutants --only "1/L" jax     those whose line has every one of the words
    python -m tests.mutants --sample             one in each framework

A fault is caught if pytest fails because of it; a survivor, or a fault that could not be planted,
makes the command fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import (
    Mutant,
    aggregation,
    cli,
    compact,
    fused,
    half,
    imports,
    low_rank,
    matrices,
    models,
    operators,
    scores,
)

ROOT = Path(__file__).parents[2]
COPIED = ("bilinear", "tests", "pyproject.toml", "README.md")
FAMILIES = (
    operators,
    fused,
    half,
    compact,
    matrices,
    low_rank,
    scores,
    aggregation,
    models,
    imports,
    cli,
)
MUTANTS = [mutant for family in FAMILIES for mutant in family.mutants()]
SAMPLE = (
    "missing 1/L in torch",
    "gradient of one stream is 2 Γ X in tensorflow",
    "eps doubled in jax",
)
FAILED, SECONDS = 1, 600
"""pytest's exit status for failed tests (others mean that none ran); and how long it may take."""


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the project into `folder` with the fault in it."""
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    file = folder / mutant.path
    file.write_text(mutant.planted(file.read_text()))


def verdict(mutant: Mutant) -> tuple[Mutant, str, float]:
    """ "caught", or what else became of it, and the seconds that took."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            plant(mutant, folder)
        except LookupError as error:
            return mutant, f"NOT PLANTED: {error}", 0.0
        environment = os.environ | {
            "BILINEAR_TEST_DOORS": ",".join(mutant.doors),
            "HYPOTHESIS_PROFILE": "unshrunk",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *mutant.tests],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return mutant, f"NO END in {SECONDS} s", float(SECONDS)
        seconds = time.monotonic() - start
        if done.returncode == FAILED:
            return mutant, "caught", seconds
        state = "SURVIVED" if done.returncode == 0 else f"NOT TESTED: {done.stdout[-400:]}"
        return mutant, state, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="words a fault's line must have")
    parser.add_argument("--sample", action="store_true", help="one fault in each framework")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if all(word in str(m) for word in arguments.only)]
    if arguments.sample:
        chosen = [m for m in chosen if str(m) in SAMPLE]
    if not chosen:
        parser.error("no fault has these words")
    states = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for mutant, state, seconds in pool.map(verdict, chosen):
            print(f"{mutant!s:70} {state}   {seconds:.0f} s", flush=True)
            states.append(state)
    caught = states.count("caught")
    print(f"\n{caught} of {len(states)} faults caught")
    return int(caught < len(states))


if __name__ == "__main__":
    raise SystemExit(main())
