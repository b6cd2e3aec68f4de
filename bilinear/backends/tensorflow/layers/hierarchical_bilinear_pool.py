"""`hadamard_pool` of learned projections of several maps as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.arguments import plain_channels
from ....contract.layers import DIM, check_arguments, check_maps
from ...initial_values import projections
from .._tensors import as_written, spec, wide
from ..hadamard_pool import pooled
from ..l2_normalize import normalized
from ..low_rank_pool import projected
from ..outer_pool import kept
from ..signed_sqrt import rooted
from ._maps import checked, chosen_format, flattened
from ._weights import learned, read


@keras.saving.register_keras_serializable(package="bilinear")
class HierarchicalBilinearPool(keras.layers.Layer):
    """Bilinear pooling across layers: every two of several maps, projected to one width.

    ``pool(x1, x2, x3, mask=…)`` of maps of one spatial shape is
    ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, x3 u3))``, each pair of which is then scaled to unit
    length by itself.

    Args:
        channels: those of each map, in a list of two or more.
        dim: width of the projections.
        seed: of the initial weights, normal with deviation 1/√Cᵢ, equal in every framework.

    Shapes: x_i (N, *spatial, Cᵢ), mask (N, *spatial) -> (N, pairs · dim), in the order of
        `hadamard_pool`.
        With ``data_format="channels_first"`` channels are the second axis; None is
        `keras.config.image_data_format()` at construction.
    Attributes: u1 (C₁, dim), u2 (C₂, dim), …, learned.
    Masks: a location is kept where every given mask is true: `mask`, and those of the maps,
        `x_mask` and `more_mask`, which Keras fills in unless they are passed; no mask leaves
        the layer.
    Dtypes: maps and weights are cast to the policy's compute dtype, which the result has too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` sums, roots and norms are in float32.
    Cost: time N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim a map.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_hierarchical_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    Source: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm a pair is that of ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = DIM,
        *,
        seed: int = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "HierarchicalBilinearPool"
        check_arguments(op, locals())
        self.channels = plain_channels(channels)
        self.dim, self.seed = dim, seed
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.data_format = chosen_format(op, data_format)
        drawn = projections([(c, dim) for c in channels], seed)
        for i, weight in enumerate(drawn, start=1):
            setattr(self, f"u{i}", learned(self, f"u{i}", weight))

    def build(self, x_shape: Any, more_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does."""

    @as_written
    def call(
        self, x: Any, *more: Any, mask: Any = None, x_mask: Any = None, more_mask: Any = None
    ) -> tf.Tensor:
        op = "HierarchicalBilinearPool"
        masks = self._checked(x, more, mask, x_mask, more_mask)
        first, others, chosen = x, [], None
        for other in more:
            first, flat, chosen = flattened(op, self.data_format, x, other, *masks)
            others.append(flat)
        streams = [
            projected(kept(wide(stream), chosen), wide(read(getattr(self, f"u{i}"))))
            for i, stream in enumerate((first, *others), start=1)
        ]
        h = tf.reshape(pooled(streams, 1, chosen, self.reduction), [-1, self._pairs, self.dim])
        h = normalized(rooted(h, self.eps), self.l2_eps)
        return tf.cast(tf.reshape(h, [-1, self.descriptor_size()]), first.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, more_shape: Any = None) -> tuple[Any, int]:
        return x_shape[0], self.descriptor_size()

    def compute_output_spec(
        self, x: Any, *more: Any, mask: Any = None, x_mask: Any = None, more_mask: Any = None
    ) -> keras.KerasTensor:
        self._checked(x, more, mask, x_mask, more_mask)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, *channels: int) -> int:
        """One `dim` for every pair of maps."""
        del channels
        return self._pairs * self.dim

    @property
    def _pairs(self) -> int:
        maps = len(self.channels)
        return maps * (maps - 1) // 2

    def get_config(self) -> dict[str, Any]:
        own = ("channels", "dim", "seed", "reduction", "eps", "l2_eps", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    def _checked(
        self, x: Any, more: Sequence[Any], mask: Any, x_mask: Any, more_mask: Any
    ) -> list[Any]:
        """The masks that were given, once the maps are as many and as wide as they should be."""
        op, first = "HierarchicalBilinearPool", self.data_format == "channels_first"
        masks = [m for m in (mask, x_mask, *(more_mask or ())) if m is not None]
        for other in more or [None]:
            checked(op, self.data_format, x, other, *masks)
        maps = [spec(m) for m in (x, *more)]
        check_maps(op, maps, self.channels, channels_first=first)
        check_root_and_norm(op, maps[0].dtype, self.eps, self.l2_eps)
        return masks
