"""`hadamard_pool` of learned projections of several feature maps as a Keras layer."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, HierarchicalBilinearPoolArguments
from ...initial_values import projections
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class HierarchicalBilinearPool(HierarchicalBilinearPoolArguments, Pool):
    """Bilinear pooling across layers: pool every pair of feature maps after a projection.

    ``pool(x1, x2, x3)`` is ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, x3 u3))`` where each
    pair is normalized separately. Specification: `bilinear.reference.hadamard_pool`. Cost: time
    N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim for each feature map.

    Args:
        channels: list with the channels of each feature map, two or more.
        dim: number of channels after the projections, default 8192.
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        reduction: "mean" (default) over the valid locations, or "sum".
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        l2_eps: lower bound of the norm of each pair, a normal positive number, default 1e-12.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Attributes: u1, u2, … (Cᵢ, dim), learned; initially normal with deviation 1/√Cᵢ.
    Shape: (N, *spatial, Cᵢ) with equal spatial sizes, in channels_first (N, Cᵢ, *spatial) -> (N,
        pairs · dim), in the order of `hadamard_pool`.
    References: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm for each pair as in ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    class_name = "HierarchicalBilinearPool"

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = DIM,
        *,
        seed: int | None = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        weights = projections([(c, self.dim) for c in channels], self.seed)
        self.add_arrays({f"u{i}": weight for i, weight in enumerate(weights, 1)})

    def build(self, x_shape: Any, more_shape: Any = None) -> None:
        """Do nothing: all weights are created by the constructor."""

    def call(
        self, x: Any, *more: Any, mask: Any = None, x_mask: Any = None, more_mask: Any = None
    ) -> Any:
        ops, masks = operators(), (mask, x_mask, *(more_mask or ()))
        locations, valid = self.to_locations((x, *more), masks)
        weights = [ops.convert_to_tensor(getattr(self, f"u{i + 1}")) for i in range(len(locations))]
        pairs = zip(locations, weights, strict=True)
        streams = [ops.project_unchecked(stream, weight, valid) for stream, weight in pairs]
        h = ops.hadamard_pool_unchecked(streams, 1, valid, self.reduction)
        size = self.descriptor_size()
        h = self.root_and_norm(keras.ops.reshape(h, (-1, size // self.dim, self.dim)), x)
        return keras.ops.reshape(h, (-1, size))

    def compute_output_shape(self, x_shape: Any, more_shape: Any = None) -> tuple[Any, int]:
        return x_shape[0], self.descriptor_size()

    def compute_output_spec(
        self, x: Any, *more: Any, mask: Any = None, x_mask: Any = None, more_mask: Any = None
    ) -> keras.KerasTensor:
        self.check((x, *more), (mask, x_mask, *(more_mask or ())))
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, *channels: int) -> int:
        """`dim` for each pair of feature maps."""
        del channels
        return self.dim * math.comb(len(self.channels), 2)
