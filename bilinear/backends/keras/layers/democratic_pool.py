"""Democratic aggregation in front of another pool as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import keras

from ....contract import ACCUMULATION, EPS, check_floor, refuse
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layer_arguments import DemocraticPoolArguments
from .. import operators
from ._feature_map_layer import Pool
from .bilinear_pool import BilinearPool


def inner_dtype(dtype: Any) -> str:
    """Dtype of a pool inside a layer of this dtype or policy, such that it does not round."""
    compute = keras.dtype_policies.get(dtype).compute_dtype
    return ACCUMULATION.get(compute, compute)


@keras.saving.register_keras_serializable(package="bilinear")
class DemocraticPool(DemocraticPoolArguments, Pool):
    """γ-democratic aggregation: scale a feature map by √(α + weight_eps), then apply `pool`.

    α are the `democratic_weights` of its locations. Published code uses ``detach_target=True`` and
    sum pooling. Specification: `bilinear.reference.democratic_weights`. Cost: time
    O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps), plus the cost of `pool`.

    Args:
        pool: a layer of one feature map and ``mask=`` with the same data format, also a
            classifier. None (default) is ``BilinearPool("sum")``.
        gamma: exponent of the target contributions, from 0 (equal) to 1 (sum pooling), default 0.5.
        damping: exponent of a step, above 0 and at most 1, default 0.5.
        steps: number of Sinkhorn steps, from 1 to 1000, default 10.
        eps: positive; keeps the base of every power away from 0. Default 1e-10.
        weight_eps: positive; added to α inside the root. Default 1e-8.
        detach_target: treat the targets as constants in the gradient. Default False.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C), in channels_first (N, C, *spatial) -> the result of `pool`.
    Dtype: With the default `pool`, half-precision feature maps are computed in float32 and the
        result is rounded. Another pool casts to its own dtype policy.
    References: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
    """

    class_name = "DemocraticPool"

    def __init__(
        self,
        pool: keras.layers.Layer | None = None,
        *,
        gamma: float = GAMMA,
        damping: float = DAMPING,
        steps: int = STEPS,
        eps: float = EPS,
        weight_eps: float = WEIGHT_EPS,
        detach_target: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        check_inner_pool(pool)
        found = getattr(pool, "data_format", self.data_format)
        if found != self.data_format:
            requirement = f"pool must have data_format={self.data_format!r}"
            remedy = "Give both layers one data_format."
            refuse(ValueError, self.class_name, requirement, repr(found), remedy)
        if pool is None:
            dtype = inner_dtype(self.dtype_policy)
            self.pool = BilinearPool("sum", data_format=self.data_format, dtype=dtype)

    def build(self, x_shape: Any) -> None:
        """Build the inner pool."""
        if not self.pool.built:
            self.pool.build(x_shape)

    def check(self, maps: Sequence[Any], masks: Sequence[Any]) -> None:
        super().check(maps, masks)
        dtype = keras.backend.standardize_dtype(maps[0].dtype)
        check_floor(self.class_name, self.eps, dtype)
        check_floor(self.class_name, self.weight_eps, dtype, name="weight_eps")

    def call(self, x: Any, *, mask: Any = None) -> Any:
        ops = operators()
        (locations,), valid = self.to_locations((x,), (mask,))
        locations = ops.upcast(locations)  # once, also in the gradient
        options = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        alpha = ops.democratic_weights_unchecked(locations, valid, *options)
        root: Any = keras.ops.sqrt(alpha + self.weight_eps)
        scaled = self.to_map(locations * root[:, :, None], x)
        return keras.ops.cast(self.pool(scaled, mask=mask), x.dtype)

    def compute_output_shape(self, x_shape: Any) -> Any:
        return self.pool.compute_output_shape(x_shape)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """The descriptor size of `pool`; ValueError if it does not support two streams."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"pool": keras.saving.serialize_keras_object(self.pool)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        pool = keras.saving.deserialize_keras_object(config["pool"])
        return super().from_config(config | {"pool": pool})
