"""SGD as the whole library means it, as a Keras optimiser."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="bilinear")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with torch's momentum and weight decay.

    ``g ← g + weight_decay · w``, ``buffer ← momentum · buffer + g``, ``w ← w − rate · buffer``,
    the buffer 0 at first. `keras.optimizers.SGD` folds the rate into its velocity and decays
    apart from it: a rate that changes gives other weights there.

    Cost: one buffer a variable, none without momentum.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("weight_decay", None)
        super().__init__(learning_rate, name=name, **kwargs)  # which would decay in its own way
        self.momentum = momentum
        self.decay = weight_decay
        self.momenta: list[Any] = []

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        if self.momentum:
            self.momenta = [
                self.add_variable_from_reference(variable, "momentum") for variable in variables
            ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        step = keras.ops.cast(gradient, variable.dtype)
        if self.decay:
            # numbers stay Python's: cast by Keras, they would be float32 on the way to float64
            step = keras.ops.add(step, keras.ops.multiply(variable, self.decay))
        rate = keras.ops.cast(learning_rate, variable.dtype)
        if not self.momentum:
            self.assign_sub(variable, keras.ops.multiply(rate, step))
            return
        # buffer and variable in one pass each, without space for what lies between
        tf.raw_ops.ResourceApplyMomentum(
            var=_handle(variable),
            accum=_handle(self.momenta[self._get_variable_index(variable)]),
            lr=rate,
            grad=step,
            momentum=tf.constant(self.momentum, variable.dtype),
        )

    def get_config(self) -> dict[str, Any]:
        own = {"momentum": self.momentum, "weight_decay": self.decay}
        return super().get_config() | own


def _handle(variable: Any) -> tf.Tensor:
    """Of a variable of Keras or of TensorFlow."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
