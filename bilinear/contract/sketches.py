"""The random tables of compact bilinear pooling: their types and their checks.

The entries of NumPy tables are checked; of a framework's own arrays, which may be on an
accelerator or not known yet, only dtype and shape are.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from .arguments import COUNT, SKETCH_REDUCTION, check_argument
from .arrays import Spec, channels_of, check_operands, check_tensor, differ, shape_text
from .errors import refuse, type_name

SketchReduction = Literal["mean", "sum", "none"]
SketchMethod = Literal["tensor_sketch", "random_maclaurin"]

HASHES = ("int32", "int64")  # h1 + h2 must not wrap
SIGNS = ("int8", "int16", *HASHES, "float16", "bfloat16", "float32", "float64")
DRAW = "Draw them with sketch_tables or maclaurin_tables."
CHANNELS = "tables must have one entry for each channel"
CHANNELS_REMEDY = "Draw the tables for the channels of x and y."


class SketchTables(NamedTuple):
    """The tables of a tensor sketch: the bin and the sign of each channel.

    h1 (C,) and h2 (D,) are int32 or int64, from 0 to dim - 1. s1 (C,) and s2 (D,) are +1 or -1.
    dim is a Python int. One stream also needs both pairs, as two hashes of the same channels.
    """

    h1: Any
    s1: Any
    h2: Any
    s2: Any
    dim: int


class MaclaurinTables(NamedTuple):
    """The tables of random Maclaurin features: signs w1 (C, dim) and w2 (D, dim)."""

    w1: Any
    w2: Any


def check_tensor_sketch(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, tables: Any
) -> None:
    check_argument("tensor_sketch", "reduction", reduction, SKETCH_REDUCTION)
    check_operands("tensor_sketch", x, y, mask, rank=3)
    check_hash_tables("tensor_sketch", tables, channels_of(x), channels_of(y or x))


def check_random_maclaurin(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, tables: Any
) -> None:
    check_argument("random_maclaurin", "reduction", reduction, SKETCH_REDUCTION)
    check_operands("random_maclaurin", x, y, mask, rank=3)
    check_sign_tables("random_maclaurin", tables, channels_of(x), channels_of(y or x))


def check_hash_tables(op: str, tables: Any, c: int | None, d: int | None) -> None:
    """Check tables of a tensor sketch of C and D channels, None where a size is not known yet."""
    check_tensor(op, "tables", tables, SketchTables, "SketchTables")
    if not isinstance(tables.dim, int):
        remedy = "It is the length of the sketch, and is never traced."
        refuse(TypeError, op, "dim must be a Python int", type_name(tables.dim), remedy)
    check_argument(op, "dim", tables.dim, COUNT)
    for i, size in (("1", c), ("2", d)):
        hashes, signs = getattr(tables, f"h{i}"), getattr(tables, f"s{i}")
        _check_table(op, f"h{i}", hashes, (size,), HASHES)
        _check_table(op, f"s{i}", signs, hashes.shape, SIGNS)


def check_sign_tables(op: str, tables: Any, c: int | None, d: int | None) -> None:
    """Check tables of random Maclaurin features of C and D channels."""
    check_tensor(op, "tables", tables, MaclaurinTables, "MaclaurinTables")
    _check_table(op, "w1", tables.w1, (c, None), SIGNS)
    _check_table(op, "w2", tables.w2, (d, tables.w1.shape[1]), SIGNS)


def to_bits(name: str, table: np.ndarray, dim: int) -> np.ndarray:
    """Return a table of dim bins as booleans, which casts and averages of a model do not change.

    A sign becomes True for +1; a bin becomes its binary digits, in a last axis.
    """
    if name[0] != "h":
        return table > 0
    return (table[:, None] >> np.arange(max(1, (dim - 1).bit_length())) & 1).astype(bool)


def from_bits(name: str, bits: Any, array_module: Any = np) -> Any:
    """Return the int64 or int8 table of `to_bits`; `array_module` is NumPy or has its functions.

    `bits` may have been cast to real numbers, or averaged with equal ones.
    """
    xp = array_module
    true = bits > 0.5
    if name[0] != "h":
        return xp.where(true, 1, -1).astype("int8")
    return xp.where(true, 2 ** xp.arange(bits.shape[1]), 0).sum(1)


def check_entries(op: str, tables: Any) -> None:
    """ValueError where a NumPy table has an entry out of range."""
    for name, table in tables._asdict().items():
        if not isinstance(table, np.ndarray):
            continue
        if name[0] != "h" and not (np.abs(table) == 1).all():
            refuse(ValueError, op, f"{name} must hold +1 and -1 alone", "another value", DRAW)
        if name[0] == "h" and not ((table >= 0) & (table < tables.dim)).all():
            requirement = f"{name} must lie from 0 to dim - 1, here {tables.dim - 1}"
            refuse(ValueError, op, requirement, f"{table.min()} to {table.max()}", DRAW)


def _check_table(op: str, name: str, table: Any, shape: Any, dtypes: tuple[str, ...]) -> None:
    if not (hasattr(table, "shape") and hasattr(table, "dtype")):
        refuse(TypeError, op, f"{name} must be an array", type_name(table), DRAW)
    dtype = getattr(table.dtype, "name", None) or str(table.dtype).rpartition(".")[2]
    if dtype not in dtypes:
        refuse(TypeError, op, f"{name} must be one of ({', '.join(dtypes)})", dtype, DRAW)
    if differ(table.shape, shape):
        received = f"{name} {shape_text(table.shape)} in place of {shape_text(shape)}"
        refuse(ValueError, op, CHANNELS, received, CHANNELS_REMEDY)
