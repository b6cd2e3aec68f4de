"""``bilinear cost``: length, parameters, memory and time of each pooling layer."""

from typing import Annotated, Any

import typer

from .._json import format_json
from ..analysis.costs import compare_costs
from ._console import show
from ._model import select_framework
from ._options import AsJson, BatchSize, framework_option


def cost(
    channels: Annotated[int, typer.Argument(min=1, help="Channels of the feature map.")],
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 200,
    batch_size: BatchSize = 32,
    projection: Annotated[
        int | None, typer.Option(min=1, help="Project to this number of channels first.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure the time for each image too. Needs a framework."),
    ] = False,
    size: Annotated[
        int, typer.Option(min=1, help="Height and width of the feature map, with --measure.")
    ] = 14,
    framework: Annotated[
        str | None, framework_option("Framework that is measured. Default: the first installed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the memory that the pooling layers need in float32, with SGD and momentum.

    The backbone is not included. Needs no framework, except with --measure.
    """
    costs = compare_costs(channels, classes, batch_size=batch_size, projection=projection)
    times: list[Any] = [None] * len(costs)
    if measure:
        from ..train.head_times import measure_heads  # noqa: PLC0415 - only here it is needed

        options = {"batch_size": batch_size, "projection": projection, "size": size}
        times = measure_heads(select_framework(framework), channels, classes, **options)
    if as_json:
        rows = [
            {**cost._asdict(), **({"seconds": time and time._asdict()} if measure else {})}
            for cost, time in zip(costs, times, strict=True)
        ]
        show(format_json(rows))
        return
    heads = ("inference ms", "training ms") if measure else ()
    show(_row("pool", "descriptor", "parameters", "weights MiB", "training MiB", *heads))
    for (name, length, parameters, weights, training), time in zip(costs, times, strict=True):
        megabytes = (f"{bytes_ / 2**20:,.1f}" for bytes_ in (weights, training))
        each = (f"{1000 * value:,.2f}" for value in time) if time else ["–"] * len(heads)
        show(_row(name, f"{length:,}" if length else "–", f"{parameters:,}", *megabytes, *each))


def _row(name: str, *values: str) -> str:
    return f"{name:36}" + "".join(f"{value:>15}" for value in values)
