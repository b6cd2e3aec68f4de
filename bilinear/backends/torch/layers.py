"""The operators as `torch.nn` modules."""

from torch import Tensor, nn

from ...contract import (
    EPS,
    L2_EPS,
    Reduction,
    check_eps,
    check_floor,
    check_layer,
    check_operands,
)
from ._tensors import check_devices, specs
from .bilinear_pool import described


class BilinearPool(nn.Module):
    """Bilinear pooling of feature maps, as `bilinear_pool` of their locations.

    ``pool(x)`` pools one stream with itself, ``pool(x, y)`` two streams; ``mask`` is boolean at
    the resolution of the maps, True where a location is kept.

    Shapes: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D), for any
        number of spatial axes of any size, in any memory format.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, with the shapes as
        they were passed; the spatial shapes of x and y must be equal, not merely their product.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(
        self, reduction: Reduction = "mean", eps: float = EPS, l2_eps: float = L2_EPS
    ) -> None:
        super().__init__()
        check_layer("BilinearPool", reduction, eps, l2_eps)
        self.reduction: Reduction = reduction
        self.eps = eps
        self.l2_eps = l2_eps

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        op = "BilinearPool"
        received = specs(op, x, y, mask)
        check_operands(op, *received, channels_first=True)
        check_eps(op, self.eps, received[0].dtype)
        check_floor(op, self.l2_eps, received[0].dtype, name="l2_eps")
        check_devices(op, x=x, y=y, mask=mask)
        return described(
            _locations(x),
            None if y is None else _locations(y),
            None if mask is None else _locations(mask[:, None]).squeeze(2),
            self.reduction,
            self.eps,
            self.l2_eps,
        )

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor of streams with C and D channels."""
        return channels * (channels if channels_b is None else channels_b)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, eps={self.eps}, l2_eps={self.l2_eps}"


def _locations(x: Tensor) -> Tensor:
    """(N, C, *spatial) -> (N, L, C), a view where the memory format allows."""
    return x.flatten(2).mT if x.ndim > 2 else x[:, None, :]
