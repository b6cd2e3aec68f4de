"""`CompactBilinearPool`: a sketch with root and norm; its tables are variables."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.layers import DIM, check_arguments, check_channels
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables
from ...initial_values import layer_tables
from .._arrays import ArrayLike, round_to
from ..l2_normalize import l2_normalize_unchecked
from ..random_maclaurin import random_maclaurin_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ..tensor_sketch import tensor_sketch_unchecked
from ._feature_maps import to_locations
from ._modules import Module, draw_seed


class Table(nnx.Variable):
    """A table of random integers that is never learned."""


class CompactBilinearPool(Module):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))`` over all locations.

    The sketch is `tensor_sketch` or `random_maclaurin`. Its tables h1, s1, h2, s2 or w1, w2 are
    integer variables of type `Table`: part of `nnx.state`, but not parameters.

    Args:
        channels: C for one stream, [C, D] for two.
        dim: length of the descriptor.
        method: ``"tensor_sketch"`` or ``"random_maclaurin"``.
        seed: non-negative integer; the same seed gives the same tables in every framework. None
            draws different tables each time.
        rngs: if given, the seed is drawn from ``rngs.params()``.
        tables: `SketchTables` or `MaclaurinTables` to use instead; `seed` is then ignored.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the signed square root, at least 0.
        l2_eps: positive; lower bound of the norm.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, dim). Only
        locations where the mask is True are pooled.
    Cost: that of the operator. The gradient needs memory for C·D + dim values per sample, or
        2·L·dim for ``"random_maclaurin"``. The tables have 2 (C + D) or (C + D)·dim entries.
    References: Gao, Beijbom, Zhang, Darrell, "Compact Bilinear Pooling", CVPR 2016.
    """

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
        op = "CompactBilinearPool"
        seed = draw_seed(op, seed, rngs)
        normal = check_arguments(op, locals())["channels"]
        self.channels = tuple(normal) if isinstance(normal, list) else normal
        self.dim, self.method, self.seed = int(dim), method, seed if tables is None else None
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        for name, table in layer_tables(op, normal, dim, method, seed, tables).items():
            setattr(self, name, Table(jnp.asarray(table)))

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """The tables as arguments of the operator."""
        kind = SketchTables if self.method == "tensor_sketch" else MaclaurinTables
        own = {name: getattr(self, name)[...] for name in kind._fields if name != "dim"}
        return kind(**own, **({"dim": self.dim} if kind is SketchTables else {}))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "CompactBilinearPool"
        x, y, mask, (of_x, _) = to_locations(op, x, y, mask)
        check_channels(op, self.channels, *(m.shape[2] for m in (x, y) if m is not None))
        check_root_and_norm(op, of_x.dtype, self.eps, self.l2_eps)
        tables = self.tables
        if isinstance(tables, SketchTables):
            z = tensor_sketch_unchecked(x, y, tables, mask, self.reduction)
        else:
            z = random_maclaurin_unchecked(x, y, tables, mask, self.reduction)
        z = l2_normalize_unchecked(signed_sqrt_unchecked(z, self.eps), self.l2_eps)
        return round_to(x, z)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`dim` for any channels."""
        return self.dim
