"""The tensors of layers by their arguments and the channels of each feature map."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class TensorSpec(NamedTuple):
    """A tensor of a layer: a learned one, or a table of integers from a range."""

    shape: tuple[int, ...]
    dtype: str | None = None
    """None is the dtype of the model."""
    values: range | None = None


Arguments = Mapping[str, Any]
Sizes = Sequence[int]


def sketch_tensors(arguments: Arguments, channels: Sizes) -> dict[str, TensorSpec]:
    c, d, dim = channels[0], channels[-1], arguments["dim"]
    signs = range(-1, 2, 2)
    if arguments["method"] == "random_maclaurin":
        shapes = {"w1": (c, dim), "w2": (d, dim)}
        return {name: TensorSpec(shape, "int8", signs) for name, shape in shapes.items()}
    tables = {}
    for number, size in ("1", c), ("2", d):
        tables[f"h{number}"] = TensorSpec((size,), "int64", range(dim))
        tables[f"s{number}"] = TensorSpec((size,), "int8", signs)
    return tables


def low_rank_tensors(arguments: Arguments, channels: Sizes) -> dict[str, TensorSpec]:
    width = arguments["dim"] * arguments["rank"]
    return {"u": TensorSpec((channels[0], width)), "v": TensorSpec((channels[-1], width))}


def classifier_tensors(arguments: Arguments, channels: Sizes) -> dict[str, TensorSpec]:
    classes, negative = arguments["num_classes"], arguments["rank"] // 2
    shape = classes, channels[0]
    return {
        "u_plus": TensorSpec((*shape, arguments["rank"] - negative)),
        "u_minus": TensorSpec((*shape, negative)),
        "bias": TensorSpec((classes,)),
    }


def hierarchical_tensors(arguments: Arguments, channels: Sizes) -> dict[str, TensorSpec]:
    return {f"u{i}": TensorSpec((c, arguments["dim"])) for i, c in enumerate(channels, 1)}
