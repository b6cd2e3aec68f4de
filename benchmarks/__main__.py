"""Measure the operators: ratios to the published formula, to its best compiler, to the products.

    python -m benchmarks                       operators and memory, all frameworks; nox -s bench
    python -m benchmarks --framework torch     one framework
    python -m benchmarks --operator outer_pool matrix_sqrt      some operators
    python -m benchmarks --device cuda         times of operators on a GPU (--head can too)
    python -m benchmarks --seconds 2 --quick   shorter, one size
    python -m benchmarks --head                the descriptor with its classifier, as a whole
    python -m benchmarks --models              whole networks: a training step, an inference step
    python -m benchmarks --cache               an epoch of a frozen backbone, from its kept maps
    python -m benchmarks --scaling             large shapes, and how the cost grows
    python -m benchmarks --write docs/benchmarks.md    the tables there too, for those it had

Rows of other frameworks that the folder of results has from this machine stay in the tables.
Each framework and each figure of memory has a process of its own. Times of one row are taken in
turn in the same run, after warm-up; a ratio is the median over the rounds, with its quartiles.
"""

import argparse
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bilinear.contract import message

from . import cache, head, machine, memory, models, operators, scaling
from .calls import LAYERS, OPERATORS
from .measure import apart
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
THREADS = "for each framework where time is measured (memory: 1); of JAX it is cores, on Linux"
USUAL = ("operators", "memory")
ON_GPU = ("operators", "head")

NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
"""With which no framework sees one: JAX and TensorFlow take what they find."""


def present() -> list[str]:
    return [framework for framework in FRAMEWORKS if importlib.util.find_spec(framework)]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        "python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    for name, module in SECTIONS.items():
        what = (module.__doc__ or "").partition("\n")[0]
        found.add_argument(f"--{name}", action="store_true", help=what)
    found.add_argument("--framework", nargs="+", choices=FRAMEWORKS, default=present())
    found.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: of --operators and --head"
    )
    found.add_argument("--seconds", type=float, default=6.0, help="for each row")
    found.add_argument("--threads", type=int, default=2, help=THREADS)
    found.add_argument("--quick", action="store_true", help="one size, or few")
    found.add_argument("--operator", nargs="+", choices=(*OPERATORS, *LAYERS), help="only these")
    found.add_argument("--pixels", type=int, help="of --models and --cache: the side of an image")
    found.add_argument(
        "--batch", type=int, default=4, help="of --models, --cache: images in a step"
    )
    found.add_argument("--out", type=Path, default=Path("out"), help="folder of the results")
    found.add_argument("--write", type=Path, metavar="FILE", help="markdown to put the tables into")
    return found


def main(words: Sequence[str] | None = None) -> None:
    asked = parser()
    given = asked.parse_args(words)
    wanted = [name for name in SECTIONS if getattr(given, name)]
    device = _device(asked, given, wanted)
    where = machine.described(present(), device, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in wanted or [n for n in USUAL if given.device == "cpu" or n in ON_GPU]:
        parts = _measured(name, given, where)
        print(file=sys.stderr)
        found = _joined([part["found"] for part in parts.values()])
        lines = [f"{where}: {_commands(parts)}", "", *SECTIONS[name].tables(found)]
        if name == "operators":
            lines += operators.slower(found)
            chart(found, given.out / "bench.png")
        print("\n".join(lines), end="\n\n", flush=True)
        if given.write:
            write(given.write, name, lines)


def _device(asked: argparse.ArgumentParser, given: argparse.Namespace, wanted: list[str]) -> str:
    """What the processes to come find, by its own name; refused where that is not what is asked."""
    if given.device == "cpu":
        os.environ |= NO_GPU
        return "cpu"
    if others := [f"--{name}" for name in wanted if name not in ON_GPU]:
        sections = " and ".join(f"--{name}" for name in ON_GPU)
        only, remedy = f"only {sections} can be on a GPU", "Measure the others on the CPU."
        asked.error(message("--device cuda", only, " ".join(others), remedy))
    names = {framework: apart(machine.gpu, framework) for framework in given.framework}
    if lacking := ", ".join(framework for framework, name in names.items() if name is None):
        every, remedy = "every framework must find a GPU", "Name the others by --framework."
        asked.error(message("--device cuda", every, f"none in {lacking}", remedy))
    return ", ".join(dict.fromkeys(map(str, names.values())))


def _measured(section: str, given: argparse.Namespace, where: str) -> dict[str, dict]:
    """Framework -> its command and rows, with those of others that were measured here before."""
    file, command = given.out / "bench.json", _command(section, given)
    for framework in given.framework:
        alone = argparse.Namespace(**{**vars(given), "framework": [framework]})
        found = SECTIONS[section].section(alone)
        whole = json.loads(file.read_text()) if file.is_file() else {}
        if whole.get(section, {}).get("machine") != where:
            whole[section] = {"machine": where, "frameworks": {}}
        whole[section]["frameworks"][framework] = {"command": command, "found": found}
        file.write_text(json.dumps(whole, indent=1) + "\n")
    parts = json.loads(file.read_text())[section]["frameworks"]
    return {framework: parts[framework] for framework in FRAMEWORKS if framework in parts}


def _joined(found: list) -> Any:
    """Rows, or what has rows by names, of several frameworks as of one."""
    if isinstance(found[0], dict):
        return {name: _joined([one[name] for one in found]) for name in found[0]}
    return [row for rows in found for row in rows]


def _command(section: str, given: argparse.Namespace) -> str:
    """What asks for this section alone; what is not a usual value is said."""
    words, usual = ["python", "-m", "benchmarks", f"--{section}"], parser()
    for name, value in vars(given).items():
        if name in {*SECTIONS, "framework", "out", "write"} or value == usual.get_default(name):
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    return shlex.join(words)


def _commands(parts: dict[str, dict]) -> str:
    """Each once, with the frameworks that it measured, unless these are all that there are."""
    by_command: dict[str, list[str]] = {}
    for framework, part in parts.items():
        by_command.setdefault(part["command"], []).append(framework)
    return " and ".join(
        f"`{command}{'' if of == present() else ' --framework ' + ' '.join(of)}`"
        for command, of in by_command.items()
    )


if __name__ == "__main__":
    main()
