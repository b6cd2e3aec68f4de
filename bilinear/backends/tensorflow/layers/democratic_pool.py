"""Democratic aggregation in front of a pooling layer, as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from ....contract import ACCUMULATION, EPS, check_floor, refuse
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layers import check_arguments
from .._tensors import as_written, constant, sizes, spec, wide
from ..democratic_weights import weights
from ._maps import checked, chosen_format, flattened
from .bilinear_pool import BilinearPool

_NUMBERS = ("gamma", "damping", "steps", "eps", "weight_eps", "detach_target")


def inner_dtype(dtype: Any) -> str:
    """That of a pool within a layer of this dtype or policy, so that it rounds nothing."""
    compute = keras.dtype_policies.get(dtype).compute_dtype
    return ACCUMULATION.get(compute, compute)


@keras.saving.register_keras_serializable(package="bilinear")
class DemocraticPool(keras.layers.Layer):
    """γ-democratic aggregation: maps scaled by √(α + weight_eps), then pooled by `pool`.

    α are the `democratic_weights` of the map's places. `pool` is any layer of one stream and of
    the same layout, called with the scaled map and the mask; None is ``BilinearPool("sum")``. A
    classifier may be one: the result is its scores. Published code has ``detach_target=True``, and
    sums.

    Shapes: x (N, *spatial, C) -> what `pool` makes of such a map; with
        ``data_format="channels_first"`` (N, C, *spatial).
    Masks: boolean (N, *spatial): `mask`, or what x carries; no mask leaves the layer.
    Dtypes: x is cast to the policy's compute dtype, which the result has too. Between, half types
        are float32 and are rounded once at the end, with the default `pool`; one of your own casts
        to its own policy.
    Gradient: the true one, through α too; that of √(α + weight_eps) is finite at α = 0.
    Edges: those of `democratic_weights` and of `pool`.
    Cost: of L places, time O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps), and those of `pool`.
    Raises: ValueError and TypeError as `bilinear.contract.aggregation.check_democracy` when made
        and `check_inner_pool` there, ValueError for a `pool` of another layout, and as
        `BilinearPool` when called.
    Source: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
    """

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
        super().__init__(**kwargs)
        check_arguments("DemocraticPool", locals())
        check_inner_pool(pool)
        self.data_format = chosen_format("DemocraticPool", data_format)
        self._check_layout(pool)
        self.pool = self._default_pool() if pool is None else pool
        self.gamma, self.damping, self.steps = float(gamma), float(damping), int(steps)
        self.eps, self.weight_eps = float(eps), float(weight_eps)
        self.detach_target = detach_target

    def _default_pool(self) -> BilinearPool:
        dtype = inner_dtype(self.dtype_policy)
        return BilinearPool("sum", data_format=self.data_format, dtype=dtype)

    def _check_layout(self, pool: Any) -> None:
        found = getattr(pool, "data_format", self.data_format)
        if found != self.data_format:
            invariant = f"pool must have data_format={self.data_format!r}"
            remedy = "Give both layers one data_format."
            refuse(ValueError, "DemocraticPool", invariant, repr(found), remedy)

    def build(self, x_shape: Any) -> None:
        """What `pool` makes."""
        if not self.pool.built:
            self.pool.build(x_shape)

    @as_written
    def call(self, x: Any, mask: Any = None) -> tf.Tensor:
        places, _, kept = flattened("DemocraticPool", self.data_format, x, None, mask)
        self._check_numbers(places)
        numbers = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        x, places = tf.convert_to_tensor(x), wide(places)  # widened once, also in the gradient
        alpha = weights(places, kept, *numbers)
        scaled = places * tf.sqrt(alpha + constant(self.weight_eps, alpha))[:, :, None]
        if self.data_format == "channels_first":
            scaled = tf.linalg.matrix_transpose(scaled)
        scaled = tf.reshape(scaled, sizes(x))
        return tf.cast(self.pool(scaled, mask=mask), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any) -> Any:
        return self.pool.compute_output_shape(x_shape)

    def compute_output_spec(self, x: Any, mask: Any = None) -> keras.KerasTensor:
        checked("DemocraticPool", self.data_format, x, None, mask)
        self._check_numbers(x)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """That of `pool`, which may refuse a second stream."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in (*_NUMBERS, "data_format")}
        pool = keras.saving.serialize_keras_object(self.pool)
        return super().get_config() | own | {"pool": pool}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DemocraticPool":
        pool = keras.saving.deserialize_keras_object(config["pool"])
        return super().from_config(config | {"pool": pool})

    def _check_numbers(self, x: Any) -> None:
        dtype = spec(x).dtype
        check_floor("DemocraticPool", self.eps, dtype)
        check_floor("DemocraticPool", self.weight_eps, dtype, name="weight_eps")
