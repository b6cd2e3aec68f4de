"""The values that layers begin with, drawn by NumPy: equal in every framework for one seed.

No global generator is used. With ``seed=None`` each call draws other values.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract.arguments import COUNT, SEED, as_list, check_argument
from ..contract.arrays import check_tensor
from ..contract.errors import refuse
from ..contract.sketches import (
    MaclaurinTables,
    SketchTables,
    check_entries,
    check_hash_tables,
    check_sign_tables,
)


def sketch_tables(
    channels: int, channels_b: int | None, dim: int, seed: int | None = 0
) -> SketchTables:
    """Draw the tables of `tensor_sketch`: uniform hashes (int64) and signs (int8).

    Args:
        channels: C, the number of channels of x.
        channels_b: D, the number of channels of y; None for one stream.
        dim: length of the sketch.
        seed: a non-negative integer, or None for entropy of the operating system.
    """
    c, d, rng = _generator("sketch_tables", channels, channels_b, dim, seed)
    dim = int(dim)
    h1, s1 = rng.integers(dim, size=c), _signs(rng, c)
    h2, s2 = rng.integers(dim, size=d), _signs(rng, d)
    return SketchTables(h1, s1, h2, s2, dim)


def maclaurin_tables(
    channels: int, channels_b: int | None, dim: int, seed: int | None = 0
) -> MaclaurinTables:
    """Draw the tables of `random_maclaurin`: uniform signs (int8).

    Args:
        channels: C, the number of channels of x.
        channels_b: D, the number of channels of y; None for one stream.
        dim: number of features.
        seed: a non-negative integer, or None for entropy of the operating system.
    """
    c, d, rng = _generator("maclaurin_tables", channels, channels_b, dim, seed)
    return MaclaurinTables(_signs(rng, (c, dim)), _signs(rng, (d, dim)))


def _generator(
    op: str, channels: Any, channels_b: Any, dim: Any, seed: Any
) -> tuple[int, int, np.random.Generator]:
    d = channels if channels_b is None else channels_b
    for name, count in (("channels", channels), ("channels_b", d), ("dim", dim)):
        check_argument(op, name, count, COUNT)
    check_argument(op, "seed", seed, SEED)
    return channels, d, np.random.default_rng(seed)


def _signs(rng: np.random.Generator, size: Any) -> np.ndarray:
    return (2 * rng.integers(2, size=size) - 1).astype(np.int8)


def layer_tables(
    op: str, channels: Any, dim: int, method: str, seed: int | None, tables: Any
) -> dict[str, np.ndarray]:
    """The tables of `CompactBilinearPool` by name: the given ones, or else drawn from `seed`."""
    c, d = as_list(channels)[0], as_list(channels)[-1]
    sketch = method == "tensor_sketch"
    if tables is None:
        made: Any = (sketch_tables if sketch else maclaurin_tables)(c, d, dim, seed)
    else:
        kind = SketchTables if sketch else MaclaurinTables
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


def projections(sizes: Sequence[tuple[int, int]], seed: int | None) -> list[np.ndarray]:
    """Draw projections of the shapes (C, R), normal with deviation 1/√C, one after the other.

    A projection then has the scale of a feature.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(size) / size[0] ** 0.5 for size in sizes]
    return [weight.astype(np.float32) for weight in drawn]


def low_rank_projections(channels: Any, dim: int, rank: int, seed: int | None) -> list[np.ndarray]:
    """Draw u (C, dim · rank) and v (D, dim · rank) of `LowRankBilinearPool`."""
    counts = as_list(channels)
    return projections([(c, dim * rank) for c in (counts[0], counts[-1])], seed)


def classifier_projections(
    channels: int, num_classes: int, rank: int, seed: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw u_plus (K, C, r₊) and u_minus (K, C, r₋), normal with deviation 1/√(C · rank).

    r₊ + r₋ is `rank`; r₊ is the larger one where it is odd. A squared projection then has the
    scale of a squared feature, and a score is near 0, where both sums are equally large.
    """
    rng = np.random.default_rng(seed)
    scale = (channels * rank) ** -0.5
    plus, minus = (
        (rng.standard_normal((num_classes, channels, size)) * scale).astype(np.float32)
        for size in (rank - rank // 2, rank // 2)
    )
    return plus, minus
