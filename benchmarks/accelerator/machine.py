"""The machine: devices, versions, and measured rates of copies and matrix products."""

from collections.abc import Callable, Collection, Mapping
from types import ModuleType

from ..measure import Spread
from .child import Items, clock
from .report import Rows, Table

ARITHMETICS = ("float32", "bfloat16", "float32, TF32", "float16")
"""Dtypes of the inputs, and whether float32 products may use TensorFloat-32."""
MEANING = (
    "The devices that the frameworks find, and the rates measured on them. A copy counts bytes "
    "read and written, a product of two large matrices counts multiplications and additions."
)


def items(adapter: ModuleType, device: str, operators: Collection[str]) -> Items:
    del operators
    count, size = (2**22, 512) if device == "cpu" else (2**28, 8192)

    def rate(make: Callable[[], Callable[[], object]], work: float, arithmetic: str) -> dict:
        with adapter.precision(arithmetic):
            run, seconds = make(), clock(adapter)
            for _ in range(3):
                adapter.wait(run())
            return {"rate": work / Spread.of([seconds(run) for _ in range(5)]).median}

    def product(arithmetic: str) -> dict:
        dtype = arithmetic.partition(",")[0]
        return rate(lambda: adapter.product(size, dtype, device), 2.0 * size**3, arithmetic)

    return {
        "device": lambda: {"text": f"{adapter.name(device)}; {adapter.describe()}"},
        "copy": lambda: rate(lambda: adapter.copy(count, device), 8.0 * count, "float32"),
        **{f"product, {one}": lambda one=one: product(one) for one in ARITHMETICS},
    }


def highest_rates(rows: Rows) -> dict[str, float]:
    """Item -> the highest rate over the frameworks, in bytes or operations per second."""
    found: dict[str, float] = {}
    for _, row in rows:
        if "rate" in row:
            found[row["item"]] = max(row["rate"], found.get(row["item"], 0.0))
    return found


def table_of(rows: Rows, rates: Mapping[str, float]) -> Table:
    del rates
    lines = []
    for framework, row in rows:
        unit = "TB/s" if row["item"] == "copy" else "TFLOP/s"
        figure = f"{row['rate'] / 1e12:.3g} {unit}" if "rate" in row else ""
        lines.append([framework, row["item"], row.get("text", figure)])
    return ("framework", "what", "result"), lines
