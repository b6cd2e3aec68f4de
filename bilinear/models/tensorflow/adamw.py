"""AdamW with PyTorch's formula, as a Keras optimizer."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ._keras import resource_handle


class AdamW(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay, by PyTorch's formula.

    ``w ← w − lr·decay·w``, ``m ← β₁·m + (1 − β₁)·g``, ``v ← β₂·v + (1 − β₂)·g²``,
    ``w ← w − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + epsilon)``. `keras.optimizers.AdamW`
    differs: it adds epsilon to ``√v``, before the correction by ``1 − β₂ᵗ``.

    Args:
        learning_rate: a positive number or a Keras schedule.
        beta_1, beta_2: at least 0, below 1.
        epsilon: above 0.
        weight_decay: at least 0.

    Cost: two buffers per variable, `first` and `second`.
    """

    def __init__(
        self,
        learning_rate: Any,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        super().__init__(learning_rate, name="adamw")  # Keras' own weight decay stays off
        self.betas, self.epsilon, self.decay = (beta_1, beta_2), epsilon, weight_decay
        self.first: list[Any] = []
        self.second: list[Any] = []

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.first = [self.add_variable_from_reference(v, "exp_avg") for v in variables]
        self.second = [self.add_variable_from_reference(v, "exp_avg_sq") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index, dtype = self._get_variable_index(variable), variable.dtype
        rate = tf.cast(learning_rate, tf.float64)
        if self.decay:
            decay = tf.cast(rate * self.decay, dtype)
            self.assign_sub(variable, keras.ops.multiply(variable, decay))
        iterations: Any = self.iterations
        step = tf.cast(iterations + 1, tf.float64)
        one, two = (1 - tf.constant(beta, tf.float64) ** step for beta in self.betas)
        # The kernel computes lr · m / (√v + ε) from these values, if its powers of β are 0.
        # With lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) and ε · √(1 − β₂ᵗ), this is the formula above.
        tf.raw_ops.ResourceApplyAdam(
            var=resource_handle(variable),
            m=resource_handle(self.first[index]),
            v=resource_handle(self.second[index]),
            beta1_power=tf.constant(0, dtype),
            beta2_power=tf.constant(0, dtype),
            lr=tf.cast(rate * tf.sqrt(two) / one, dtype),
            beta1=tf.constant(self.betas[0], dtype),
            beta2=tf.constant(self.betas[1], dtype),
            epsilon=tf.cast(self.epsilon * tf.sqrt(two), dtype),
            grad=keras.ops.cast(gradient, dtype),
        )
