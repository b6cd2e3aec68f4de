"""`low_rank_pool`, root and norm as a Keras layer with learned projections."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.arguments import plain_channels
from ....contract.layers import DIM, check_arguments, check_maps
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from .._tensors import as_written, spec
from ..l2_normalize import normalized
from ..low_rank_pool import factored
from ..signed_sqrt import rooted
from ._maps import checked, chosen_format, flattened
from ._weights import learned, read


@keras.saving.register_keras_serializable(package="bilinear")
class LowRankBilinearPool(keras.layers.Layer):
    """Low-rank bilinear pooling of feature maps, with learned u and v.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))`` of their locations: each of the `dim`
    entries of the descriptor is a bilinear form of rank at most `rank`. Without activation and
    ``rank=1`` this is the pooling of MLB, with more that of MFB.

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor.
        rank: products summed in each entry.
        activation: of the projections, None, ``"tanh"``, ``"relu"`` or ``"sigmoid"``.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) -> (N, dim).
        With ``data_format="channels_first"`` channels are the second axis; None is
        `keras.config.image_data_format()` at construction.
    Attributes: u (C, dim · rank), v (D, dim · rank), learned.
    Masks: a location is kept where every given mask is true: `mask`, and those of the two
        streams, `x_mask` and `y_mask`, which Keras fills in unless they are passed; no mask
        leaves the layer.
    Dtypes: maps and weights are cast to the policy's compute dtype, which the result has too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` sums, roots and norms are in float32.
    Cost: as `low_rank_pool`, with R = dim · rank; the weights are (C + D) · R.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_low_rank_layer` when made,
        as `check_operands` and `low_rank.check_maps` when called.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        rank: int = 1,
        activation: Activation = None,
        seed: int = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "LowRankBilinearPool"
        check_arguments(op, locals())
        self.channels = plain_channels(channels)
        self.dim, self.rank, self.seed = dim, rank, seed
        self.activation: Activation = activation
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.data_format = chosen_format(op, data_format)
        u, v = low_rank_projections(channels, dim, rank, seed)
        self.u, self.v = learned(self, "u", u), learned(self, "v", v)

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does, which `model.summary()` reads."""

    @as_written
    def call(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> tf.Tensor:
        op = "LowRankBilinearPool"
        checked(op, self.data_format, x, y, mask, x_mask, y_mask)
        self._check(x, y)
        x, y, kept = flattened(op, self.data_format, x, y, mask, x_mask, y_mask)
        u, v = read(self.u), read(self.v)
        h = factored(x, u, v, y, self.activation, self.rank, kept, self.reduction)
        return tf.cast(normalized(rooted(h, self.eps), self.l2_eps), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, Any]:
        return x_shape[0], self.dim

    def compute_output_spec(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> keras.KerasTensor:
        checked("LowRankBilinearPool", self.data_format, x, y, mask, x_mask, y_mask)
        self._check(x, y)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`dim`, whatever the channels."""
        del channels, channels_b
        return self.dim

    def get_config(self) -> dict[str, Any]:
        own = ("channels", "dim", "rank", "activation", "seed", "reduction", "eps", "l2_eps")
        settings = {name: getattr(self, name) for name in (*own, "data_format")}
        return super().get_config() | settings

    def _check(self, x: Any, y: Any) -> None:
        op, first = "LowRankBilinearPool", self.data_format == "channels_first"
        maps = [spec(m) for m in (x, y) if m is not None]
        check_maps(op, maps, self.channels, channels_first=first)
        check_root_and_norm(op, maps[0].dtype, self.eps, self.l2_eps)
