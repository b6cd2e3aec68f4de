"""Bytes that each process of a training sends in one step, calculated from the shapes of models.

    python -m benchmarks.traffic                              print the tables
    python -m benchmarks.traffic --processes 64               for more processes
    python -m benchmarks.traffic --write docs/scaling.md      also replace them in this file

Nothing is measured. A ring of P processes sends (P − 1)/P of a tensor's bytes from each process in
an all-gather or a reduce-scatter, and an all-reduce is one of each (Patarasuk and Yuan 2009,
https://doi.org/10.1016/j.jpdc.2008.09.002).
"""

import argparse
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from bilinear.analysis.costs import POOLS, Cost, compare_costs
from bilinear.models.construction import LONGEST, PROJECTION
from bilinear.models.plans import BACKBONES, CHANNELS, is_parameter, tensor_shapes

from .report import MEGABYTE, table, write

ITEM, CLASSES, PROCESSES, BATCH = 4, 200, 8, 256
"""Bytes of a value, classes, processes, and images of all processes in a step."""
FULL = [*POOLS].index("BilinearPool()")
WIDE, MANY_CLASSES = "vgg16", 10_000
"""A backbone whose whole bilinear descriptor has 262,144 values, and the classes that a
classifier can be too wide for."""


def parameters(backbone: str) -> int:
    shapes = tensor_shapes(backbone).items()
    return sum(math.prod(shape) for name, shape in shapes if is_parameter(name))


def head(backbone: str, pool: int, classes: int = CLASSES) -> tuple[Cost, bool]:
    """The cost of an entry of `POOLS`, and whether ``projection="auto"`` projects for it."""
    cost = compare_costs(CHANNELS[backbone], classes)[pool]
    if cost.descriptor <= LONGEST:
        return cost, False
    return compare_costs(CHANNELS[backbone], classes, projection=PROJECTION)[pool], True


def ring(processes: int, passes: int, values: float) -> float:
    """MiB sent by each process in so many all-gathers or reduce-scatters."""
    return passes * (processes - 1) / processes * ITEM * values / MEGABYTE


def all_reduce_table(processes: int) -> list[str]:
    """Backbones × pools: MiB of the gradients of all parameters, and the part of the head."""
    titles = [name.format(c="C", k="K") for name in POOLS]
    rows = []
    for backbone in BACKBONES:
        own, cells = parameters(backbone), []
        for pool in range(len(POOLS)):
            cost, projected = head(backbone, pool)
            moved = ring(processes, 2, own + cost.parameters)
            part = cost.parameters / (own + cost.parameters)
            cells.append(f"{moved:,.0f} ({part:.0%}){'*' if projected else ''}")
        own_head = head(backbone, FULL)[0].descriptor + 1
        rows.append([f"{backbone}, C = {CHANNELS[backbone]:,}", *cells, f"{-(-own // own_head)}"])
    last = f"classes from which the head of `{titles[FULL]}` is larger than the backbone"
    return table(["backbone", *(f"`{title}`" for title in titles), last], rows)


def classifier_table(processes: int) -> list[str]:
    """Ways to train a head of many classes on the feature maps of `WIDE`."""
    pools = [head(WIDE, i, MANY_CLASSES)[0] for i in range(len(POOLS))]
    rows = []
    for cost in pools:
        size = cost.parameters
        whole = 3 * size * ITEM / 2**30
        gathered = ring(processes, 2, BATCH * (cost.descriptor or math.nan))
        rows.append(
            [
                f"`{cost.pool}`",
                f"{cost.descriptor:,}" if cost.descriptor else "–",
                f"{whole:,.2f} GiB",
                f"{ring(processes, 2, size):,.0f}",
                f"{whole / processes:,.2f} GiB",
                f"{ring(processes, 3, size):,.0f}",
                f"{gathered:,.0f}" if cost.descriptor else "–",
            ]
        )
    titles = [
        "pool",
        "descriptor",
        "state of the head",
        "all-reduce, MiB",
        "state, sharded",
        "gathered weights, MiB",
        "gathered descriptors, MiB",
    ]
    return table(titles, rows)


def lines(processes: int) -> list[str]:
    asked = [] if processes == PROCESSES else ["--processes", str(processes)]
    command = shlex.join(["python", "-m", "benchmarks.traffic", *asked])
    sizes = f"{processes} processes, float32"
    return [
        f"MiB that each process sends in one step, {CLASSES} classes, {sizes}, all parameters "
        "trained. In parentheses: the part of the head (projection, pool and classifier). "
        f'*: with a projection to {PROJECTION} channels, as `projection="auto"` does. '
        f"Command: `{command}`.",
        "",
        *all_reduce_table(processes),
        "",
        f"The head alone, for {MANY_CLASSES:,} classes on {WIDE} (C = {CHANNELS[WIDE]}), {sizes}, "
        f"{BATCH} images in a step of all processes. The state is weights, gradients and momentum.",
        "",
        *classifier_table(processes),
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.traffic", description=__doc__)
    parser.add_argument("--processes", type=int, default=PROCESSES, help="of the training")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    given = parser.parse_args(words)
    found = lines(given.processes)
    print("\n".join(found), flush=True)
    if given.write:
        write(given.write, "traffic", found)


if __name__ == "__main__":
    main()
