"""`low_rank_pool` with root and norm as a Keras layer with learned projections."""

from collections.abc import Sequence
from typing import Any

import keras

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, LowRankBilinearPoolArguments
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class LowRankBilinearPool(LowRankBilinearPoolArguments, Pool):
    """Low-rank bilinear pooling of one or two feature maps, with learned projections.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))``: each entry is a bilinear form of rank
    at most `rank`. With ``rank=1`` and no activation this is the pooling of MLB (Kim et al.), with
    a larger rank that of MFB (Yu et al.). Specification: `bilinear.reference.low_rank_pool`. Cost:
    that of `low_rank_pool` with R = dim · rank; (C + D)·R weights.

    Args:
        channels: C for one feature map, or [C, D] for two.
        dim: length of the descriptor, default 8192.
        rank: number of products that are summed for each entry, default 1.
        activation: of the projections, None (default), "tanh", "relu" or "sigmoid".
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        reduction: "mean" (default) over the valid locations, or "sum".
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        l2_eps: lower bound of the norm, a normal positive number, default 1e-12.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Attributes: u (C, dim · rank) and v (D, dim · rank), learned; normal with deviation 1/√C.
    Shape: (N, *spatial, C) and (N, *spatial, D), in channels_first (N, C, *spatial) -> (N, dim).
    References: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    class_name = "LowRankBilinearPool"

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        rank: int = 1,
        activation: Activation = None,
        seed: int | None = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        u, v = low_rank_projections(channels, self.dim, self.rank, self.seed)
        self.add_arrays({"u": u, "v": v})

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        u, v = map(operators().convert_to_tensor, (self.u, self.v))
        options = self.activation, self.rank, mask, self.reduction
        return self.root_and_norm(operators().low_rank_pool_unchecked(x, u, v, y, *options), x)
