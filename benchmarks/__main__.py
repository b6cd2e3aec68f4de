"""Measure time and memory, as ratios to published formulas, eager and compiled, and to floors.

    python -m benchmarks                       operators and memory, all frameworks; nox -s bench
    python -m benchmarks --framework torch     one framework
    python -m benchmarks --operator outer_pool matrix_sqrt      some operators
    python -m benchmarks --device cuda         times on a GPU (only --operators and --head)
    python -m benchmarks --seconds 2 --quick   shorter, one size
    python -m benchmarks --head                pooling and classifier together
    python -m benchmarks --models              whole networks: training and inference steps
    python -m benchmarks --cache               an epoch with cached feature maps
    python -m benchmarks --keras               Keras layers beside the native ones
    python -m benchmarks --scaling             large shapes, and growth of the cost
    python -m benchmarks --write docs/benchmarks.md    also replace the tables in this file

Rows of other frameworks, and with --operator of other operators, stay in the tables if the results
folder has them from this machine. Each framework and each memory measurement runs in its own
process. The calls of one row are timed in
turn, after warm-up. A ratio is the median over the rounds, with its quartiles.
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

from . import cache, head, keras_layers, machine, memory, models, operators, scaling
from .calls import LAYERS, OPERATORS
from .measure import in_new_process
from .report import chart, write

FRAMEWORKS = ("torch", "tensorflow", "jax")
SECTIONS = {
    "operators": operators,
    "memory": memory,
    "head": head,
    "models": models,
    "cache": cache,
    "keras": keras_layers,
    "scaling": scaling,
}
"""Each module has ``section(given)``, which measures, and ``tables(found)``."""
THREADS = "threads of each framework (memory: always 1); for JAX, cores on Linux"
ROW = ("operator", "size", "dtype", "pass", "name")
"""What identifies a row of one framework in the sections that --operator limits."""
DEFAULT_SECTIONS = ("operators", "memory")
ON_GPU = ("operators", "head")


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
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: only --operators and --head"
    )
    found.add_argument("--seconds", type=float, default=6.0, help="time limit for each row")
    found.add_argument("--threads", type=int, default=2, help=THREADS)
    found.add_argument("--quick", action="store_true", help="measure only one or a few sizes")
    found.add_argument(
        "--operator", nargs="+", choices=(*OPERATORS, *LAYERS), help="measure only these"
    )
    found.add_argument("--pixels", type=int, help="image side in --models and --cache")
    found.add_argument(
        "--batch", type=int, default=4, help="images in a step of --models and --cache"
    )
    found.add_argument("--out", type=Path, default=Path("out"), help="results folder")
    found.add_argument(
        "--write", type=Path, metavar="FILE", help="Markdown file whose tables are replaced"
    )
    return found


def main(words: Sequence[str] | None = None) -> None:
    arguments = parser()
    given = arguments.parse_args(words)
    wanted = [name for name in SECTIONS if getattr(given, name)]
    device = _select_device(arguments, given, wanted)
    where = machine.describe(present(), device, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in wanted or [n for n in DEFAULT_SECTIONS if given.device == "cpu" or n in ON_GPU]:
        parts = _measure(name, given, where)
        print(file=sys.stderr)
        found = _join([part["found"] for part in parts.values()])
        lines = [f"{where} Command: {_commands(parts)}.", "", *SECTIONS[name].tables(found)]
        if name == "operators":
            lines += operators.slower(found)
            chart(found, given.out / "bench.png")
        print("\n".join(lines), end="\n\n", flush=True)
        if given.write:
            write(given.write, name, lines)


def _select_device(
    arguments: argparse.ArgumentParser, given: argparse.Namespace, wanted: list[str]
) -> str:
    """Return the name of the device; exit with an error if it does not match ``--device``."""
    if given.device == "cpu":
        os.environ |= machine.NO_GPU
        return "cpu"
    if others := [f"--{name}" for name in wanted if name not in ON_GPU]:
        sections = " and ".join(f"--{name}" for name in ON_GPU)
        only, remedy = f"only {sections} can run on a GPU", "Measure the others on the CPU."
        arguments.error(message("--device cuda", only, " ".join(others), remedy))
    names = {framework: in_new_process(machine.gpu, framework) for framework in given.framework}
    if missing := ", ".join(framework for framework, name in names.items() if name is None):
        every, remedy = "every framework must find a GPU", "Name the others with --framework."
        arguments.error(message("--device cuda", every, f"none in {missing}", remedy))
    return ", ".join(dict.fromkeys(map(str, names.values())))


def _measure(section: str, given: argparse.Namespace, where: str) -> dict[str, dict]:
    """Measure a section. Return framework -> command and rows, including earlier results."""
    file, commands = given.out / "bench.json", [_command(section, given)]
    for framework in given.framework:
        alone = argparse.Namespace(**{**vars(given), "framework": [framework]})
        found = SECTIONS[section].section(alone)
        whole = json.loads(file.read_text()) if file.is_file() else {}
        if whole.get(section, {}).get("machine") != where:
            whole[section] = {"machine": where, "frameworks": {}}
        parts = whole[section]["frameworks"]
        part = {"commands": commands, "found": found}
        if section in DEFAULT_SECTIONS and given.operator and framework in parts:
            part = _replace_rows(parts[framework], part)
        parts[framework] = part
        file.write_text(json.dumps(whole, indent=1) + "\n")
    parts = json.loads(file.read_text())[section]["frameworks"]
    return {framework: parts[framework] for framework in FRAMEWORKS if framework in parts}


def _replace_rows(earlier: dict, later: dict) -> dict:
    """The earlier rows of a framework, except those that the later run measured again."""
    rows = {tuple(map(row.get, ROW)): row for part in (earlier, later) for row in part["found"]}
    commands = dict.fromkeys([*earlier["commands"], *later["commands"]])
    return {"commands": [*commands], "found": [*rows.values()]}


def _join(found: list) -> Any:
    """Join the rows of several frameworks; dictionaries of rows are joined by key."""
    if isinstance(found[0], dict):
        return {name: _join([one[name] for one in found]) for name in found[0]}
    return [row for rows in found for row in rows]


def _command(section: str, given: argparse.Namespace) -> str:
    """The command for this section, with all arguments that differ from their defaults."""
    words, default = ["python", "-m", "benchmarks", f"--{section}"], parser()
    for name, value in vars(given).items():
        if name in {*SECTIONS, "framework", "out", "write"} or value == default.get_default(name):
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    return shlex.join(words)


def _commands(parts: dict[str, dict]) -> str:
    """List each command once, with its frameworks unless these are all installed ones."""
    by_command: dict[str, list[str]] = {}
    for framework, part in parts.items():
        for command in part["commands"]:
            by_command.setdefault(command, []).append(framework)
    return " and ".join(
        f"`{command}{'' if of == present() else ' --framework ' + ' '.join(of)}`"
        for command, of in by_command.items()
    )


if __name__ == "__main__":
    main()
