"""The tables of compact bilinear pooling as tensors beside the features."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from ...contract.sketches import check_entries
from ._tensors import check_devices

_Tables = TypeVar("_Tables", bound=tuple)


def tables_to_tensors(op: str, tables: _Tables, **tensors: Tensor | None) -> _Tables:
    """Check the tables and return them as tensors on the device of the features."""
    if not torch.compiler.is_compiling():
        check_entries(op, tables)
    own = {k: t for k, t in tables._asdict().items() if isinstance(t, Tensor)}  # pyright: ignore
    check_devices(op, **tensors, **own)
    (first, *_) = tensors.values()
    assert first is not None
    return type(tables)(*(_tensor(table, first.device) for table in tables))


def _tensor(table: Any, device: torch.device) -> Any:
    return table if isinstance(table, (int, Tensor)) else torch.as_tensor(table, device=device)
