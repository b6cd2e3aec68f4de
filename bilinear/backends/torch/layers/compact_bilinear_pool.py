"""`CompactBilinearPool` as a `torch.nn` module."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layers import DIM
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables
from ...initial_values import layer_tables
from ..random_maclaurin import random_maclaurin_unchecked
from ..tensor_sketch import tensor_sketch_unchecked
from ._feature_map_layer import DataFormat, Pool, tensor_options


class CompactBilinearPool(Pool):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))``.

    The sketch is `tensor_sketch` or `random_maclaurin` of the locations. Its tables are integer
    buffers (h1, s1, h2, s2, or w1, w2), which are part of the state_dict.

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor, a positive integer. Default 8192.
        method: ``"tensor_sketch"`` or ``"random_maclaurin"``. Default ``"tensor_sketch"``.
        seed: non-negative integer, for equal tables in every framework; None is random. Default 0.
        tables: `SketchTables` or `MaclaurinTables` in place of drawn ones (`seed`). Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).
        device: device of the tables; None is PyTorch's default device.
        dtype: has no effect: the tables are integers, the descriptor has the dtype of the maps.

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) boolean -> (N, dim).
    Cost: that of the operator; tables of 2 (C + D) or (C + D)·dim entries.

    Example:
        >>> CompactBilinearPool(512)(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 8192])

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
        data_format: DataFormat = "channels_first",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(locals())
        place = tensor_options(self.class_name, device, dtype)["device"]
        made = layer_tables(self.class_name, self.channels, self.dim, method, seed, tables)
        self.seed = self.seed if tables is None else None
        for name, table in made.items():
            self.register_buffer(name, torch.from_numpy(table).to(place))

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """The tables as arguments of the operator."""
        buffers = dict(self.named_buffers(recurse=False))
        if self.method == "tensor_sketch":
            return SketchTables(**buffers, dim=self.dim)
        return MaclaurinTables(**buffers)

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        x, y, mask = self.to_locations(x, y, mask, self.channels, self.eps_options)
        sketch = tensor_sketch_unchecked
        if self.method == "random_maclaurin":
            sketch = random_maclaurin_unchecked
        z = sketch(x, y, self.tables, mask, self.reduction)  # pyright: ignore
        return self.root_and_norm(z).to(x.dtype)
