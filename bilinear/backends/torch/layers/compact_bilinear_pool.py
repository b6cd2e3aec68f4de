"""`CompactBilinearPool` as a `torch.nn` module."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ....contract import EPS, L2_EPS, Reduction, message, refuse
from ....contract.layer_arguments import DIM, CompactBilinearPoolArguments
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables
from ...initial_values import layer_tables
from ..random_maclaurin import random_maclaurin_unchecked
from ..tensor_sketch import tensor_sketch_unchecked
from ._feature_map_layer import DataFormat, NormalizedPool, tensor_options


class CompactBilinearPool(CompactBilinearPoolArguments, NormalizedPool):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))``.

    The sketch is `tensor_sketch` or `random_maclaurin` of the locations. Its tables h1, s1, h2, s2,
    or w1, w2, are constants: they are part of the state_dict, but neither parameters nor buffers.
    Casts and averages of a model (`torch.optim.swa_utils.AveragedModel`, timm's ``ModelEmaV2``)
    do not change them. `load_state_dict` refuses tables that differ from those of `seed`; a layer
    without a seed takes the tables of the state_dict.

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor, a positive integer. Default 8192.
        method: ``"tensor_sketch"`` or ``"random_maclaurin"``. Default ``"tensor_sketch"``.
        seed: non-negative integer, for equal tables in every framework; None is random, and refused
            where several processes train one model. Default 0.
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
        if tables is None and seed is None:
            _check_processes(self.class_name)
        made = layer_tables(self.class_name, self.channels, self.dim, method, self.seed, tables)
        self.seed = self.seed if tables is None else None
        for name, table in made.items():
            setattr(self, name, _moved(torch.from_numpy(table), place))

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """The tables as arguments of the operator."""
        if self.method == "tensor_sketch":
            return SketchTables(self.h1, self.s1, self.h2, self.s2, self.dim)
        return MaclaurinTables(self.w1, self.w2)

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        x, y, mask = self.to_locations(x, y, mask, self.channels, self.eps_options)
        sketch, tables = tensor_sketch_unchecked, self.tables
        if self.method == "random_maclaurin":
            sketch = random_maclaurin_unchecked
        # the copies that DataParallel makes for other devices have the tables of the first device
        tables = tables._replace(**{k: t.to(x.device) for k, t in self._named_tables().items()})
        z = sketch(x, y, tables, mask, self.reduction)  # pyright: ignore
        return self.root_and_norm(z).to(x.dtype)

    def _named_tables(self) -> dict[str, Tensor]:
        return {k: t for k, t in self.tables._asdict().items() if k != "dim"}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the tables to another device, but neither cast nor empty them."""
        super()._apply(fn, recurse)
        for name, table in self._named_tables().items():
            setattr(self, name, _moved(table, fn(table).device))
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Add copies of the tables: an average may be written in place of what is returned."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, table in self._named_tables().items():
            destination[prefix + name] = table if keep_vars else table.clone()

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Compare the tables with those of the seed; a layer without a seed takes them."""
        lists = missing_keys, unexpected_keys, error_msgs
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)
        own = self._named_tables()
        unexpected_keys[:] = [k for k in unexpected_keys if k.removeprefix(prefix) not in own]
        missing_keys += [prefix + name for name in own if prefix + name not in state_dict]
        given = {k: state_dict[prefix + k].cpu() for k in own if prefix + k in state_dict}
        if all(_equal(table, own[name].cpu()) for name, table in given.items()):
            return
        names, invariant = ", ".join(prefix + name for name in given), ""
        if self.seed is not None:
            invariant = f"{names} must be the tables of seed={self.seed}"
        elif len(given) < len(own):
            invariant = f"tables that differ from those of the layer must be complete: {list(own)}"
        if invariant:
            remedy = "Make the layer with the seed of the saved one, or with seed=None."
            error_msgs.append(message(self.class_name, invariant, f"other {names}", remedy))
            return
        try:
            kind, size = type(self.tables), {"dim": self.dim} if "h1" in own else {}
            tables = kind(**{k: table.numpy() for k, table in given.items()}, **size)
            op, channels = f"{self.class_name} {prefix}*", self.channels
            checked = layer_tables(op, channels, self.dim, self.method, None, tables)
        except (TypeError, ValueError) as error:
            error_msgs.append(f"{error}")
            return
        for name, table in checked.items():
            setattr(self, name, torch.from_numpy(table).to(own[name].device))


def _moved(table: Tensor, device: torch.device | str | int) -> Tensor:
    """The table on a device; a constant has its values also where the meta device is asked for."""
    return table if torch.device(device).type == "meta" else table.to(device)


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool((first == second).all())


def _check_processes(op: str) -> None:
    """ValueError where each of several processes would draw its own tables."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    if (count := distributed.get_world_size()) > 1:
        invariant = "seed must be an integer where several processes may train one model"
        remedy = "Pass the same seed in every process; tables are constants and are not exchanged."
        refuse(ValueError, op, invariant, f"seed=None in {count} processes", remedy)
