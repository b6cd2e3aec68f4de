"""Measure the operators: ratios to the published formula, to its best compiler, to the products.

    python -m benchmarks                       operators and memory, all frameworks; nox -s bench
    python -m benchmarks --framework torch     one framework
    python -m benchmarks --operator outer_pool matrix_sqrt      some operators
    python -m benchmarks --device cuda         times of operators on a GPU
    python -m benchmarks --seconds 2 --quick   shorter, one size
    python -m benchmarks --head                the descriptor with its classifier, as a whole
    python -m benchmarks --models              whole networks: a training step, an inference step
    python -m benchmarks --cache               an epoch of a frozen backbone, from its kept maps
    python -m benchmarks --scaling             large shapes, and how the cost grows
    python -m benchmarks --write docs/benchmarks.md    the tables there too, for those it had

Each framework and each figure of memory has a process of its own. Times of one row are taken in
turn in the same run, after warm-up; a ratio is the median over the rounds, with its quartiles.
"""

import argparse
import importlib.util
import json
import shlex
import sys
from pathlib import Path

from . import cache, head, machine, memory, models, operators, scaling
from .calls import LAYERS, OPERATORS
from .report import chart, write

FRAMEWORKS = ("torch", "tensorflow", "jax")
SECTIONS = {
    "operators": operators,
    "memory": memory,
    "head": head,
    "models": models,
    "cache": cache,
    "scaling": scaling,
}
"""Each has ``section(given)``, what is measured, and ``tables`` of that."""
USUAL = ("operators", "memory")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, module in SECTIONS.items():
        what = (module.__doc__ or "").partition("\n")[0]
        found.add_argument(f"--{name}", action="store_true", help=what)
    present = [f for f in FRAMEWORKS if importlib.util.find_spec(f)]
    found.add_argument("--framework", nargs="+", choices=FRAMEWORKS, default=present)
    found.add_argument("--device", default="cpu", help="of --operators: cpu, or cuda")
    found.add_argument("--seconds", type=float, default=6.0, help="for each row")
    found.add_argument("--threads", type=int, default=2, help="of a CPU, for each framework")
    found.add_argument("--quick", action="store_true", help="one size, or few")
    found.add_argument("--operator", nargs="+", choices=(*OPERATORS, *LAYERS), help="only these")
    found.add_argument("--pixels", type=int, help="of --models and --cache: the side of an image")
    found.add_argument(
        "--batch", type=int, default=4, help="of --models, --cache: images in a step"
    )
    found.add_argument("--out", type=Path, default=Path("out"), help="folder of the results")
    found.add_argument("--write", type=Path, metavar="FILE", help="markdown to put the tables into")
    return found


def main() -> None:
    given = parser().parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "bench.json"
    for name in [n for n in SECTIONS if getattr(given, n)] or USUAL:
        found = SECTIONS[name].section(given)
        print(file=sys.stderr)
        where = machine.described(given.framework, given.device, given.threads)
        command = f"python -m benchmarks {_command(name)}"
        lines = [f"{where}: `{command}`", "", *SECTIONS[name].tables(found)]
        print("\n".join(lines), end="\n\n", flush=True)
        whole = json.loads(file.read_text()) if file.is_file() else {}
        whole[name] = {"machine": where, "command": command, "found": found}
        file.write_text(json.dumps(whole, indent=1) + "\n")
        if name == "operators":
            chart(found, given.out / "bench.png")
        if given.write:
            write(given.write, name, lines)


def _command(section: str) -> str:
    """What was asked for, in words that ask for this section alone."""
    asked = [word for word in sys.argv[1:] if word.lstrip("-") not in SECTIONS]
    return shlex.join([f"--{section}", *asked])


if __name__ == "__main__":
    main()
