"""Compact bilinear pooling as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, CompactBilinearPoolArguments
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables, to_bits
from ...initial_values import layer_tables
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class CompactBilinearPool(CompactBilinearPoolArguments, Pool):
    """Compact bilinear pooling, ``l2_normalize(signed_sqrt(sketch))`` of one or two feature maps.

    The sketch is `tensor_sketch` or `random_maclaurin`. Its tables are weights (h1, s1, h2, s2, or
    w1, w2) that are saved with the model and not trained. They store the binary digits of the
    integers, which averages of ``get_weights()`` do not change; `tables` has the integers.
    ``set_weights`` and ``load_weights`` of another model replace the tables, as they replace every
    weight: `seed` stays as it was, and files get the tables.
    Cost: that of the operator. The gradient needs memory for C·D + dim values per sample, or
    2·L·dim for "random_maclaurin". The tables have 2 (C + D) or (C + D)·dim entries.

    Args:
        channels: C for one feature map, or [C, D] for two.
        dim: length of the descriptor, default 8192.
        method: "tensor_sketch" (default) or "random_maclaurin".
        seed: non-negative integer, for equal tables in every framework; None is random. Default 0.
        tables: `SketchTables` or `MaclaurinTables` to use instead; `seed` is then ignored.
        reduction: "mean" (default) over the valid locations, or "sum".
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        l2_eps: lower bound of the norm, a normal positive number, default 1e-12.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C) and (N, *spatial, D), in channels_first (N, C, *spatial) -> (N, dim).
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
        tables: SketchTables | MaclaurinTables | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        arrays = layer_tables(self.class_name, channels, self.dim, method, self.seed, tables)
        if tables is not None:
            self.seed = None
        bits = {name: to_bits(name, table, self.dim) for name, table in arrays.items()}
        self.add_arrays(bits, dtype="bool", trainable=False, autocast=False)

    def load_own_variables(self, store: Any) -> None:
        """Set the tables from a file; files written before version 0.1 hold the integers."""
        names = [weight.name for weight in self.weights]
        found = {name: np.asarray(store[f"{i}"]) for i, name in enumerate(names) if f"{i}" in store}
        if len(found) == len(names) and all(a.dtype.kind == "i" for a in found.values()):
            sketch = self.method == "tensor_sketch"
            given = SketchTables(**found, dim=self.dim) if sketch else MaclaurinTables(**found)
            options = self.channels, self.dim, self.method, None
            tables = layer_tables(self.class_name, *options, given)
            store = {f"{i}": to_bits(n, tables[n], self.dim) for i, n in enumerate(names)}
        super().load_own_variables(store)

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """The tables as arguments of the operator."""
        kind = SketchTables if self.method == "tensor_sketch" else MaclaurinTables
        names = [name for name in kind._fields if name != "dim"]
        tensors = [_from_bits(name, getattr(self, name)) for name in names]
        return kind(*tensors, *([self.dim] if kind is SketchTables else []))

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        ops, tables = operators(), self.tables
        x = ops.ensure_table_sizes(self.class_name, x, y, tables)
        sketch = getattr(ops, f"{self.method}_unchecked")
        return self.root_and_norm(sketch(x, y, tables, mask, self.reduction), x)


def _from_bits(name: str, weight: keras.Variable) -> Any:
    """Return the int64 or int8 table of `bilinear.contract.sketches.to_bits`."""
    bits, ops = operators().convert_to_tensor(weight), keras.ops
    if name[0] != "h":
        return ops.where(bits, ops.cast(1, "int8"), ops.cast(-1, "int8"))
    return ops.sum(ops.where(bits, 2 ** np.arange(weight.shape[1]), 0), axis=1)
