"""Audit: whether every operator, layer and named model runs on the device, in every dtype."""

from collections.abc import Callable, Collection, Mapping
from types import ModuleType

from ..calls import LAYERS, OPERATORS, Size
from .child import Items, short
from .report import Rows, Table

DTYPES = ("float32", "bfloat16", "float16", "float64")
SIZE = Size(2, 9, 16)
MASKED = "bilinear_pool, masked"
BACKBONES = ("vgg16", "resnet18")
TWO_STREAMS = "vgg16 and resnet18"
PASSES = {False: "forward", True: "forward + backward"}
MEANING = (
    "“ok”: forward and backward run, all results are on the device, and a second call neither "
    "waits for the device nor moves values between host and device (for PyTorch checked on a GPU). "
    "PyTorch runs eagerly, JAX compiled."
)


def items(adapter: ModuleType, device: str, operators: Collection[str]) -> Items:
    models = (*BACKBONES, TWO_STREAMS)
    pixels = 33 if device == "cpu" else 224

    def call(name: str, dtype: str, gradient: bool) -> Callable[[], object]:
        if name in models:
            return adapter.model(name.split(" and "), dtype, gradient, pixels, device)
        op, size = name.partition(",")[0], SIZE._replace(masked=name == MASKED)
        return adapter.subject.calls(op, size, dtype, gradient, device)[adapter.subject.OURS]

    def row(name: str, dtype: str) -> dict:
        found = {
            passes: _problem(adapter, lambda g=gradient: call(name, dtype, g), device)
            for gradient, passes in PASSES.items()
        }
        return {"subject": name, "dtype": dtype, "problems": {k: v for k, v in found.items() if v}}

    names = (*OPERATORS, MASKED, *LAYERS, *models)
    names = [name for name in names if name.partition(",")[0] in (operators or names)]
    return {
        f"{name}, {dtype}": lambda name=name, dtype=dtype: row(name, dtype)
        for dtype in DTYPES
        for name in names
    }


def _problem(adapter: ModuleType, make: Callable[[], Callable], device: str) -> str | None:
    """Run a call twice; return an error, a result elsewhere or a wait for the device, or None."""
    try:
        run = make()
        result = run()  # the first call may compile, and move tables to the device
        adapter.wait(result)
    except Exception as error:
        return short(error)
    if adapter.devices(result) != {device}:
        return f"results on {', '.join(sorted(adapter.devices(result)))}"
    try:
        with adapter.no_synchronisation(device):
            run()
    except Exception as error:
        return f"waits for the device or moves values to it: {short(error)}"
    return None


def table_of(rows: Rows, rates: Mapping[str, float]) -> Table:
    del rates
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for framework, row in rows:
        cell = "failed" if row["problems"] else "ok"
        cells.setdefault((framework, row["subject"]), {})[row["dtype"]] = cell
    lines = [[*key, *(of.get(dtype, "") for dtype in DTYPES)] for key, of in cells.items()]
    return ("framework", "operator, layer or model", *DTYPES), lines
