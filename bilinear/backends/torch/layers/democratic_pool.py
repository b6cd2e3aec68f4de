"""Democratic aggregation in front of a pooling layer, as a `torch.nn` module."""

import torch
from torch import Tensor, nn

from ....contract import EPS, check_floor, refuse
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layer_arguments import DemocraticPoolArguments
from .._tensors import spec, upcast
from ..democratic_weights import democratic_weights_unchecked
from ._feature_map_layer import DataFormat, Pool
from .bilinear_pool import BilinearPool


class DemocraticPool(DemocraticPoolArguments, Pool):
    """γ-democratic aggregation: scale a feature map by √(α + weight_eps) and apply `pool`.

    α are the `democratic_weights` of the locations. Published code uses ``detach_target=True`` and
    sum pooling.

    Args:
        pool: a layer that takes one feature map and ``mask=``, in the same data format; it may be
            a classifier. None is ``BilinearPool("sum")``. Default None.
        gamma: exponent of the target contributions, from 0 (equal) to 1 (sum pooling). Default 0.5.
        damping: exponent of a Sinkhorn step, above 0 and at most 1. Default 0.5.
        steps: number of Sinkhorn steps, from 1 to 1000. Default 10.
        eps: added to the base of each power, a positive number. Default 1e-10.
        weight_eps: added to α inside the root, a positive number. Default 1e-8.
        detach_target: whether the gradient treats the targets as constants. Default False.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), mask (N, *spatial) -> what `pool` returns for x.
    Cost: time O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps) for L locations, plus the
        cost of `pool`.

    Example:
        >>> DemocraticPool()(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 4096])

    References: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
    """

    class_name = "DemocraticPool"

    def __init__(
        self,
        pool: nn.Module | None = None,
        *,
        gamma: float = GAMMA,
        damping: float = DAMPING,
        steps: int = STEPS,
        eps: float = EPS,
        weight_eps: float = WEIGHT_EPS,
        detach_target: bool = False,
        data_format: DataFormat = "channels_first",
    ) -> None:
        check_inner_pool(pool)
        if pool is None:
            pool = BilinearPool("sum", data_format=data_format)
        if (inner := getattr(pool, "data_format", data_format)) != data_format:
            requirement = f"pool must have data_format={data_format!r} too"
            refuse(ValueError, self.class_name, requirement, repr(inner))
        super().__init__(locals())

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        flat, _, valid = self.to_locations(x, None, mask)
        op, dtype = self.class_name, spec(self.class_name, "x", x).dtype
        check_floor(op, self.eps, dtype)
        check_floor(op, self.weight_eps, dtype, name="weight_eps")
        flat = upcast(flat)  # once, so that its two gradients are added before they are rounded
        settings = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        alpha = democratic_weights_unchecked(flat, valid, *settings)
        scaled = flat * torch.sqrt(alpha + self.weight_eps)[:, :, None]
        return self.pool(self.to_feature_map(scaled, x), mask=mask).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """The descriptor size of `pool`; ValueError if it does not support two streams."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))
