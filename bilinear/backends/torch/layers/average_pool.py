"""The mean over all places, as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract.pooling import check_one_stream
from .._tensors import wide
from ..outer_pool import counted, keep
from ._maps import flattened


class AveragePool(nn.Module):
    """The mean of feature maps over all places: what plain classifiers see, of one stream.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]`` over the Z locations kept: the baseline of every other
    pool. There is no root and no normalisation.

    Shapes: x (N, C, *spatial), mask (N, *spatial) boolean, True where kept -> (N, C), for any
        number of spatial axes of any size, in any memory format.
    Gradient, edges: those of `outer_pool` of x and ones.
    Cost: time N·L·C; output N·C.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, _, mask = flattened("AveragePool", x, None, mask)
        total = keep(wide(x), mask).sum(1)
        count = x.shape[1] if mask is None else counted(mask, total.dtype)[:, None]
        return (total / count).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C; of one stream, and a second is refused."""
        check_one_stream("AveragePool", channels, channels_b)
        return channels
