"""`outer_max_pool` with root and norm, as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract import EPS, L2_EPS, check_root_and_norm
from ....contract.layers import check_arguments
from .._tensors import spec
from ..l2_normalize import normalized
from ..outer_max_pool import largest
from ..signed_sqrt import rooted
from ._maps import flattened


class OuterMaxPool(nn.Module):
    """The largest products over all places of feature maps, as unit descriptors.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``: `BilinearPool` with the maximum
    in place of the mean. The calls are those of `BilinearPool`.

    Shapes: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D), for any
        number of spatial axes of any size, in any memory format.
    Gradient, edges: those of `outer_max_pool`, `signed_sqrt` and `l2_normalize`.
    Cost: that of `outer_max_pool`; the descriptor is C·D.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, with the shapes as
        they were passed; the spatial shapes of x and y must be equal, not merely their product.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(self, eps: float = EPS, l2_eps: float = L2_EPS) -> None:
        super().__init__()
        check_arguments("OuterMaxPool", locals())
        self.eps = eps
        self.l2_eps = l2_eps

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        op = "OuterMaxPool"
        x, y, mask = flattened(op, x, y, mask)
        check_root_and_norm(op, spec(op, "x", x).dtype, self.eps, self.l2_eps)
        products = largest(x, y, mask).flatten(1)
        return normalized(rooted(products, self.eps), self.l2_eps).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor of streams with C and D channels."""
        return channels * (channels if channels_b is None else channels_b)

    def extra_repr(self) -> str:
        return f"eps={self.eps}, l2_eps={self.l2_eps}"
