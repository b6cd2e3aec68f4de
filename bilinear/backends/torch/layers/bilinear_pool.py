"""`bilinear_pool` as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layers import check_arguments
from ....contract.options import check_options
from ....contract.pooling import descriptor_size
from .._tensors import spec
from ..bilinear_pool import described
from ._maps import flattened


class BilinearPool(nn.Module):
    """Bilinear pooling of feature maps, as `bilinear_pool` of their locations.

    ``pool(x)`` pools one stream with itself, ``pool(x, y)`` two streams; ``mask`` is boolean at
    the resolution of the maps, True where a location is kept.

    Shapes: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D), or
        (N, C(C+1)/2) if packed, for any number of spatial axes of any size, in any memory format.
    Cost: that of `bilinear_pool`; the result is N·C·D numbers, N·C(C+1)/2 with `packed`.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, with the shapes as
        they were passed; the spatial shapes of x and y must be equal, not merely their product.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(
        self,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        packed: bool = False,
        root: Root = "signed",
        slope_eps: float | None = None,
        norm: Norm = "floor",
    ) -> None:
        super().__init__()
        op = "BilinearPool"
        check_arguments(op, locals())
        self.reduction: Reduction = reduction
        self.eps = eps
        self.l2_eps = l2_eps
        self.packed = packed
        self.root: Root = root
        self.slope_eps = slope_eps
        self.norm: Norm = norm

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        op = "BilinearPool"
        x, y, mask = flattened(op, x, y, mask)
        given = self.eps, self.l2_eps, self.packed, self.root, self.slope_eps, self.norm
        of_y = None if y is None else spec(op, "y", y)
        options = DescriptorOptions(self.reduction, *given)
        check_options(op, options, spec(op, "x", x).dtype, of_y)
        return described(x, y, mask, options)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream, C(C+1)/2 for half of it."""
        return descriptor_size("BilinearPool", self.packed, channels, channels_b)

    def extra_repr(self) -> str:
        names = "reduction", "eps", "l2_eps", "packed", "root", "slope_eps", "norm"
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
