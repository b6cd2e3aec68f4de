"""SGD with PyTorch's formula, as a Keras optimizer."""

from collections.abc import Sequence
from typing import Any

import keras

from . import functions


@keras.saving.register_keras_serializable(package="bilinear")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with PyTorch's momentum and weight decay.

    ``g ← g + weight_decay · w``, ``buffer ← momentum · buffer + g``,
    ``w ← w − learning_rate · buffer``; the buffer starts at 0. `keras.optimizers.SGD`
    differs: its buffer includes the learning rate, and its weight decay is not added to the
    gradient.

    Args:
        learning_rate: a positive number or a Keras schedule; 0.01 by default.
        momentum: from 0 to 1; 0 by default.
        weight_decay: factor of the weights in the gradient, at least 0; 0 by default.
        name: of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`.

    Cost: one buffer per variable; none without momentum.
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
        super().__init__(learning_rate, name=name, **kwargs)  # Keras' own weight decay stays off
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
            # a Python number: Keras would cast it to float32 first, also for float64 weights
            step = keras.ops.add(step, keras.ops.multiply(variable, self.decay))
        learning_rate = keras.ops.cast(learning_rate, variable.dtype)
        if not self.momentum:
            self.assign_sub(variable, keras.ops.multiply(learning_rate, step))
            return
        buffer = self.momenta[self._get_variable_index(variable)]
        if keras.backend.backend() == "tensorflow":
            functions().apply_momentum(variable, buffer, learning_rate, step, self.momentum)
            return
        step = keras.ops.add(keras.ops.multiply(buffer, self.momentum), step)
        self.assign(buffer, step)
        self.assign_sub(variable, keras.ops.multiply(learning_rate, step))

    def get_config(self) -> dict[str, Any]:
        own = {"momentum": self.momentum, "weight_decay": self.decay}
        return super().get_config() | own
