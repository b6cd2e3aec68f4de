"""What all layers share: checked arguments, initial values, layout, root and norm."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....contract import ACCUMULATION, DescriptorOptions, Root, check_argument, refuse
from ....contract.arguments import DATA_FORMAT
from ....contract.layers import argument_text, check_arguments, check_call, descriptor_length
from .._fx import leaf
from .._tensors import specs
from ..l2_normalize import l2_normalize_unchecked
from ..signed_sqrt import signed_sqrt_unchecked

DataFormat = Literal["channels_first", "channels_last"]


class FeatureMapLayer(nn.Module):
    """Base of the layers, whose arguments are in the table of the contract and are attributes."""

    class_name: ClassVar[str]
    """Key of the layer in `bilinear.contract.layers.LAYERS`."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "forward" in vars(cls):
            cls.forward = leaf(cls.forward)

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Check the arguments of the constructor, given as its `locals()`, and store them."""
        super().__init__()
        op, data_format = self.class_name, arguments["data_format"]
        check_argument(op, "data_format", data_format, DATA_FORMAT)
        for name, value in check_arguments(op, arguments).items():
            setattr(self, name, value)
        self.data_format = data_format

    def add_learned(
        self,
        device: torch.device | str | int | None,
        dtype: torch.dtype | str | None,
        **arrays: np.ndarray,
    ) -> None:
        """Add parameters with these initial values."""
        options = tensor_options(self.class_name, device, dtype)
        for name, value in arrays.items():
            tensor = torch.from_numpy(np.ascontiguousarray(value)).to(**options)
            self.register_parameter(name, nn.Parameter(tensor))

    def to_locations(
        self,
        x: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        channels: Any = None,
        options: DescriptorOptions | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Check what the layer is called with; return maps as (N, L, C), and the mask as (N, L)."""
        op, first = self.class_name, self.data_format == "channels_first"
        described = specs(op, x, y, mask)
        check_call(op, *described, channels_first=first, channels=channels, options=options)
        if mask is not None:
            mask = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
        return _flatten(x, first), None if y is None else _flatten(y, first), mask

    def to_feature_map(self, locations: Tensor, like: Tensor) -> Tensor:
        """(N, L, C) -> the layout and the spatial shape of the feature map `like`."""
        if self.data_format == "channels_last":
            return locations.reshape(*like.shape[:-1], locations.shape[2])
        return locations.transpose(-2, -1).reshape(
            like.shape[0], locations.shape[2], *like.shape[2:]
        )

    def extra_repr(self) -> str:
        shown = [argument_text(self.class_name, self)]
        if self.data_format != "channels_first":
            shown.append(f"data_format={self.data_format!r}")
        return ", ".join(filter(None, shown))


class Pool(FeatureMapLayer):
    """Base of the layers that pool feature maps to descriptors."""

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """Length of the descriptor of one or two feature maps with these channels."""
        return descriptor_length(self.class_name, self, channels, channels_b)


class NormalizedPool(Pool):
    """Base of the pools that end with a signed root and a norm."""

    eps: float
    l2_eps: float

    @property
    def eps_options(self) -> DescriptorOptions:
        return DescriptorOptions(eps=self.eps, l2_eps=self.l2_eps)

    def root_and_norm(self, z: Tensor, root: Root = "signed") -> Tensor:
        return l2_normalize_unchecked(signed_sqrt_unchecked(z, self.eps, root), self.l2_eps)


def _flatten(x: Tensor, channels_first: bool) -> Tensor:
    """(N, C, *spatial) or (N, *spatial, C) -> (N, L, C), a view where the strides allow it."""
    if x.ndim == 2:
        return x[:, None, :]
    return x.flatten(2).transpose(-2, -1) if channels_first else x.flatten(1, -2)


def tensor_options(
    op: str, device: torch.device | str | int | None, dtype: torch.dtype | str | None
) -> dict[str, Any]:
    """The device and the floating dtype of new parameters, where None is PyTorch's default."""
    name = str(torch.get_default_dtype() if dtype is None else dtype).removeprefix("torch.")
    if name not in ACCUMULATION:
        requirement = f"dtype must be a torch.dtype or a name, one of {', '.join(ACCUMULATION)}"
        refuse(TypeError, op, requirement, repr(dtype))
    device = torch.get_default_device() if device is None else device
    return {"device": device, "dtype": getattr(torch, name)}
