"""Feature maps as location features, and back."""

from typing import Any, Literal

from torch import Tensor

from ....contract.layers import check_call
from ....contract.options import DescriptorOptions
from .._tensors import specs

DataFormat = Literal["channels_first", "channels_last"]


def to_locations(
    op: str,
    data_format: str,
    x: Tensor,
    y: Tensor | None = None,
    mask: Tensor | None = None,
    channels: Any = None,
    options: DescriptorOptions | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Check the arguments of a layer's call; return maps as (N, L, C) and their mask as (N, L)."""
    first = data_format == "channels_first"
    described = specs(op, x, y, mask)
    check_call(op, *described, channels_first=first, channels=channels, options=options)
    if mask is not None:
        mask = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
    return _flatten(x, first), None if y is None else _flatten(y, first), mask


def _flatten(x: Tensor, channels_first: bool) -> Tensor:
    """(N, C, *spatial) or (N, *spatial, C) -> (N, L, C), a view where the strides allow it."""
    if x.ndim == 2:
        return x[:, None, :]
    return x.flatten(2).mT if channels_first else x.flatten(1, -2)


def to_feature_map(locations: Tensor, like: Tensor, data_format: str) -> Tensor:
    """(N, L, C) -> the layout and the spatial shape of the feature map `like`."""
    if data_format == "channels_last":
        return locations.reshape(*like.shape[:-1], locations.shape[2])
    return locations.mT.reshape(like.shape[0], locations.shape[2], *like.shape[2:])
