"""`CompactBilinearPool` as a `torch.nn` module."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.layers import DIM, check_arguments, check_channels
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables
from ...initial_values import layer_tables
from .._tensors import spec
from ..l2_normalize import normalized
from ..random_maclaurin import projected
from ..signed_sqrt import rooted
from ..tensor_sketch import sketched
from ._maps import flattened


class CompactBilinearPool(nn.Module):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))`` of the maps' locations.

    The sketch is `tensor_sketch` or `random_maclaurin`. Its tables are integer buffers (h1, s1,
    h2, s2, or w1, w2): part of the state_dict, moved with the module, never rounded. They are
    drawn from `seed`, without any global generator, equal in every framework; or given as
    `tables` (`SketchTables` or `MaclaurinTables`), and then `seed` is None. With neither they are
    blank, for `load_state_dict` to fill, and until then the layer gives zeros.

    Shapes: x (N, C, *spatial) for `channels` C, or x and y (N, D, *spatial) for [C, D]; mask
        (N, *spatial) boolean, True where kept -> (N, dim).
    Gradient, edges: those of the operators, in that order.
    Cost: that of the operator, C·D + dim numbers a sample held for the gradient by
        "tensor_sketch", 2·L·dim by "random_maclaurin"; tables of 2 (C + D) or (C + D)·dim entries.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, for maps of other
        channels than the layer's, for tables that are not its, or for a y where `channels` is no
        pair.
    Source: Gao, Beijbom, Zhang, Darrell, "Compact Bilinear Pooling", CVPR 2016.
    """

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
    ) -> None:
        super().__init__()
        op = "CompactBilinearPool"
        self.channels = check_arguments(op, locals())["channels"]
        made = layer_tables(op, self.channels, dim, method, seed, tables)
        self.dim, self.method, self.seed = int(dim), method, seed if tables is None else None
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        for name, table in made.items():
            self.register_buffer(name, torch.from_numpy(table))

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """As the operator takes them."""
        buffers = dict(self.named_buffers(recurse=False))
        if self.method == "tensor_sketch":
            return SketchTables(**buffers, dim=self.dim)
        return MaclaurinTables(**buffers)

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        op = "CompactBilinearPool"
        x, y, mask = flattened(op, x, y, mask)
        check_channels(op, self.channels, *(m.shape[2] for m in (x, y) if m is not None))
        check_root_and_norm(op, spec(op, "x", x).dtype, self.eps, self.l2_eps)
        sketch = sketched if self.method == "tensor_sketch" else projected
        z = sketch(x, y, self.tables, mask, self.reduction)  # pyright: ignore
        return normalized(rooted(z, self.eps), self.l2_eps).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """dim, whatever the channels."""
        return self.dim

    def extra_repr(self) -> str:
        own = ("channels", "dim", "method", "seed", "reduction", "eps", "l2_eps")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in own)
