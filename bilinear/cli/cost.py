"""``bilinear cost``: length, parameters and memory of each pooling layer."""

from typing import Annotated

import typer

from .._json import format_json
from ..analysis.costs import compare_costs
from ._console import show
from ._options import AsJson, BatchSize


def cost(
    channels: Annotated[int, typer.Argument(min=1, help="Channels of the feature map.")],
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 200,
    batch_size: BatchSize = 32,
    projection: Annotated[
        int | None, typer.Option(min=1, help="Project to this number of channels first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the memory that the pooling layers need in float32, with SGD and momentum.

    The backbone is not included. Needs no framework.
    """
    costs = compare_costs(channels, classes, batch_size=batch_size, projection=projection)
    if as_json:
        show(format_json([cost._asdict() for cost in costs]))
        return
    show(_row("pool", "descriptor", "parameters", "weights MiB", "training MiB"))
    for name, length, parameters, weights, training in costs:
        megabytes = (f"{size / 2**20:,.1f}" for size in (weights, training))
        show(_row(name, f"{length:,}" if length else "–", f"{parameters:,}", *megabytes))


def _row(name: str, *values: str) -> str:
    return f"{name:36}" + "".join(f"{value:>15}" for value in values)
