"""`CompactBilinearPool`: a sketch with root and norm; its tables are variables."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, CompactBilinearPoolArguments
from ....contract.sketches import (
    MaclaurinTables,
    SketchMethod,
    SketchTables,
    from_bits,
    to_bits,
)
from ...initial_values import layer_tables
from .._arrays import ArrayLike
from ..random_maclaurin import random_maclaurin_unchecked
from ..tensor_sketch import tensor_sketch_unchecked
from ._layer import Module, Pool


class Table(nnx.Variable):
    """A random table, as booleans (`bilinear.contract.sketches.to_bits`); never learned."""


class CompactBilinearPool(CompactBilinearPoolArguments, Pool, Module):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))`` over all locations.

    The sketch is `tensor_sketch` or `random_maclaurin`. Its tables h1, s1, h2, s2 or w1, w2 are
    variables of type `Table`: part of `nnx.state`, but not parameters. They store the binary digits
    of the integers, which casts and averages of a model (`nnx.EMA`) do not change; `tables` has
    the integers. `nnx.update` with the state of another model replaces the tables, as it replaces
    every variable: `seed` stays as it was, and files get the tables.

    Args:
        channels: C for one stream, [C, D] for two.
        dim: length of the descriptor, default 8192.
        method: ``"tensor_sketch"`` (default) or ``"random_maclaurin"``.
        seed: non-negative integer, for equal tables in every framework; None is random. Default 0.
        rngs: if given, the seed is drawn from ``rngs.params()``. Default None.
        tables: `SketchTables` or `MaclaurinTables` to use, default None; `seed` is then ignored.
        reduction: ``"mean"`` (default) over the valid locations, or ``"sum"``.
        eps: added inside the signed square root, at least 0. Default 1e-10.
        l2_eps: positive; lower bound of the norm. Default 1e-12.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, dim).
    Cost: that of the operator. The gradient needs memory for C·D + dim values per sample, or
        2·L·dim for ``"random_maclaurin"``. The tables have 2 (C + D) or (C + D)·dim entries.
    References: Gao, Beijbom, Zhang, Darrell, "Compact Bilinear Pooling", CVPR 2016.
    """

    class_name = "CompactBilinearPool"

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        method: SketchMethod = "tensor_sketch",
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
        tables: SketchTables | MaclaurinTables | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        self.set_arguments(locals())
        made = layer_tables(self.class_name, self.channels, self.dim, method, self.seed, tables)
        self.seed = self.seed if tables is None else None
        for name, table in made.items():
            setattr(self, name, Table(jnp.asarray(to_bits(name, table, self.dim))))

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """The tables as the operator takes them."""
        kind = SketchTables if self.method == "tensor_sketch" else MaclaurinTables
        names = [name for name in kind._fields if name != "dim"]
        own = {name: from_bits(name, getattr(self, name)[...], jnp) for name in names}
        return kind(**own, **({"dim": self.dim} if kind is SketchTables else {}))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        x, y, mask = self.to_locations(x, y, mask, channels=self.channels)
        sketch: Any = tensor_sketch_unchecked
        if self.method == "random_maclaurin":
            sketch = random_maclaurin_unchecked
        return self.root_and_norm(sketch(x, y, self.tables, mask, self.reduction), x)
