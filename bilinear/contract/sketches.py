"""The random tables of compact bilinear pooling: how they are drawn, and what is accepted.

The entries of NumPy tables are checked; those of a framework's own arrays, which may be on an
accelerator or not known yet, only in dtype and shape.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from . import Spec, _differ, _shape_text, check_operands, check_tensor, refuse
from ._counts import check_count, check_seed

SketchReduction = Literal["mean", "sum", "none"]
SketchMethod = Literal["tensor_sketch", "random_maclaurin"]

SKETCH_REDUCTIONS = ("mean", "sum", "none")
METHODS = ("tensor_sketch", "random_maclaurin")
HASHES = ("int32", "int64")  # h1 + h2 must not wrap
SIGNS = ("int8", "int16", *HASHES, "float16", "bfloat16", "float32", "float64")
DRAW = "Draw them with sketch_tables or maclaurin_tables."
CHANNELS = "tables must have one entry for each channel"
CHANNELS_REMEDY = "Draw the tables for the channels of x and y."


class SketchTables(NamedTuple):
    """Those of a tensor sketch: where each channel is counted, and with which sign.

    h1 (C,) and h2 (D,) hold int32 or int64 from 0 to dim - 1, s1 (C,) and s2 (D,) are +1 or -1;
    dim is a Python int. One stream has both: two hashes of the same channels.
    """

    h1: Any
    s1: Any
    h2: Any
    s2: Any
    dim: int


class MaclaurinTables(NamedTuple):
    """Those of random Maclaurin features: signs w1 (C, dim) and w2 (D, dim)."""

    w1: Any
    w2: Any


def sketch_tables(channels: int, channels_b: int | None, dim: int, seed: int = 0) -> SketchTables:
    """Uniform hashes (int64) and signs (int8) for streams of C and D channels.

    D is None for one stream. They depend on the arguments alone: no global generator is used.
    """
    op = "sketch_tables"
    c, d, rng = _drawing(op, channels, channels_b, dim, seed)
    dim = int(dim)
    h1, s1 = rng.integers(dim, size=c), _signs(rng, c)
    h2, s2 = rng.integers(dim, size=d), _signs(rng, d)
    return SketchTables(h1, s1, h2, s2, dim)


def maclaurin_tables(
    channels: int, channels_b: int | None, dim: int, seed: int = 0
) -> MaclaurinTables:
    """Uniform signs (int8) for streams of C and D channels; D is None for one stream."""
    c, d, rng = _drawing("maclaurin_tables", channels, channels_b, dim, seed)
    return MaclaurinTables(_signs(rng, (c, dim)), _signs(rng, (d, dim)))


def check_tensor_sketch(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, tables: Any
) -> None:
    op = "tensor_sketch"
    check_sketch_reduction(op, reduction)
    check_operands(op, x, y, mask, rank=3)
    check_hash_tables(op, tables, *_channels(x, y))


def check_random_maclaurin(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, tables: Any
) -> None:
    op = "random_maclaurin"
    check_sketch_reduction(op, reduction)
    check_operands(op, x, y, mask, rank=3)
    check_sign_tables(op, tables, *_channels(x, y))


def check_hash_tables(op: str, tables: Any, c: int | None, d: int | None) -> None:
    """Those of a tensor sketch of C and D channels, None where a number is not known yet."""
    check_tensor(op, "tables", tables, SketchTables, "SketchTables")
    remedy = "It is the length of the sketch, and is never traced."
    if not isinstance(tables.dim, int):
        received = f"{type(tables.dim).__module__}.{type(tables.dim).__qualname__}"
        refuse(TypeError, op, "dim must be a Python int", received, remedy)
    check_count(op, "dim", tables.dim, remedy)
    for i, size in (("1", c), ("2", d)):
        hashes, signs = getattr(tables, f"h{i}"), getattr(tables, f"s{i}")
        _check_table(op, f"h{i}", hashes, (size,), HASHES)
        _check_table(op, f"s{i}", signs, hashes.shape, SIGNS)


def check_sign_tables(op: str, tables: Any, c: int | None, d: int | None) -> None:
    """Those of random Maclaurin features of C and D channels."""
    check_tensor(op, "tables", tables, MaclaurinTables, "MaclaurinTables")
    _check_table(op, "w1", tables.w1, (c, None), SIGNS)
    _check_table(op, "w2", tables.w2, (d, tables.w1.shape[1]), SIGNS)


def check_entries(op: str, tables: Any) -> None:
    """ValueError where a NumPy table holds what no table may."""
    for name, table in tables._asdict().items():
        if not isinstance(table, np.ndarray):
            continue
        if name[0] != "h" and not (np.abs(table) == 1).all():
            refuse(ValueError, op, f"{name} must hold +1 and -1 alone", "another number", DRAW)
        if name[0] == "h" and not ((table >= 0) & (table < tables.dim)).all():
            invariant = f"{name} must lie from 0 to dim - 1, here {tables.dim - 1}"
            refuse(ValueError, op, invariant, f"{table.min()} to {table.max()}", DRAW)


def check_sketch_reduction(op: str, reduction: object) -> None:
    if reduction not in SKETCH_REDUCTIONS:
        invariant = "reduction must be 'mean', 'sum' or 'none'"
        remedy = "'mean' divides by the number of locations kept, 'none' does not pool."
        refuse(ValueError, op, invariant, repr(reduction), remedy)


def _drawing(op: str, channels: Any, channels_b: Any, dim: Any, seed: int):
    d = channels if channels_b is None else channels_b
    for name, count in (("channels", channels), ("channels_b", d), ("dim", dim)):
        check_count(op, name, count, "It is the number of entries to draw.")
    check_seed(op, seed)
    return channels, d, np.random.Generator(np.random.PCG64(seed))


def _signs(rng: np.random.Generator, size: Any) -> np.ndarray:
    return (2 * rng.integers(2, size=size) - 1).astype(np.int8)


def _channels(x: Spec, y: Spec | None) -> tuple[int | None, int | None]:
    """C and D, None where they are not known yet."""
    c, d = (None if s.shape is None else s.shape[2] for s in (x, x if y is None else y))
    return c, d


def _check_table(op: str, name: str, table: Any, shape: Any, dtypes: tuple[str, ...]) -> None:
    if not (hasattr(table, "shape") and hasattr(table, "dtype")):
        received = f"{type(table).__module__}.{type(table).__qualname__}"
        refuse(TypeError, op, f"{name} must be an array", received, DRAW)
    dtype = getattr(table.dtype, "name", None) or str(table.dtype).rpartition(".")[2]
    if dtype not in dtypes:
        refuse(TypeError, op, f"{name} must be one of ({', '.join(dtypes)})", dtype, DRAW)
    if _differ(table.shape, shape):
        received = f"{name} {_shape_text(table.shape)} in place of {_shape_text(shape)}"
        refuse(ValueError, op, CHANNELS, received, CHANNELS_REMEDY)


# --- what a layer is made with ---


def layer_channels(op: str, channels: Any) -> int | list[int]:
    """C of one stream, or [C, D] of two."""
    remedy = "Pass C for one stream, [C, D] for two."
    if not isinstance(channels, (list, tuple)):
        check_count(op, "channels", channels, remedy)
        return int(channels)
    if len(channels) != 2:
        refuse(ValueError, op, "channels must be one number or two", f"{channels!r}", remedy)
    for count in channels:
        check_count(op, "channels", count, remedy)
    return [int(count) for count in channels]


def check_layer_streams(op: str, channels: Any, *found: int | None) -> None:
    """The maps have the channels that a layer was made for, as far as they are known."""
    own = list(channels) if isinstance(channels, (list, tuple)) else [channels]
    if len(own) != len(found):
        shown = own if isinstance(channels, (list, tuple)) else channels
        received = f"channels {shown} and {'y' if len(found) > 1 else 'no y'}"
        remedy = "Pass one map to a layer of C channels, two to one of [C, D]."
        refuse(ValueError, op, "y must be given where channels is a pair", received, remedy)
    for name, count, size in zip("xy"[: len(own)], own, found, strict=True):
        if size is not None and size != count:
            remedy = "Make the layer for the channels of its maps."
            refuse(ValueError, op, f"{name} must have {count} channels", f"{size}", remedy)


def layer_tables(
    op: str, channels: int | list[int], dim: Any, method: object, seed: int | None, tables: Any
) -> dict[str, np.ndarray]:
    """By name: those given, else those drawn from `seed`, else blank ones to be loaded into.

    Those are zeros, signs too, so that a layer gives zeros until it is filled.
    """
    check_count(op, "dim", dim, "It is the length of the descriptor.")
    if method not in METHODS:
        invariant = "method must be 'tensor_sketch' or 'random_maclaurin'"
        remedy = "Both estimate the bilinear kernel; the sketch has smaller tables."
        refuse(ValueError, op, invariant, repr(method), remedy)
    if seed is not None:
        check_seed(op, seed)
    c, d = channels if isinstance(channels, list) else (channels, channels)
    sketch = method == "tensor_sketch"
    kind = SketchTables if sketch else MaclaurinTables
    if tables is None and seed is None:
        blank = {"h": np.int64, "s": np.int8, "w": np.int8}
        sizes = {"1": (c,), "2": (d,)} if sketch else {"1": (c, dim), "2": (d, dim)}
        names = [name for name in kind._fields if name != "dim"]
        return {name: np.zeros(sizes[name[1]], blank[name[0]]) for name in names}
    if tables is None:
        made: Any = (sketch_tables if sketch else maclaurin_tables)(c, d, dim, seed)  # type: ignore
    else:
        check_tensor(op, "tables", tables, kind, kind.__name__)
        made = kind._make(t if isinstance(t, int) else np.asarray(t) for t in tables)
        (check_hash_tables if sketch else check_sign_tables)(op, made, c, d)
        check_entries(op, made)
        found = made.dim if sketch else made.w1.shape[1]
        if found != dim:
            remedy = "Pass the dim that the tables were drawn for."
            refuse(ValueError, op, f"tables must be of dim {dim}", f"{found}", remedy)
    return {
        name: np.array(table, np.int64 if name[0] == "h" else np.int8)
        for name, table in made._asdict().items()
        if name != "dim"
    }
