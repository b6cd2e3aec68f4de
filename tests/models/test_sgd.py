"""SGD with PyTorch's formula as a Keras optimizer."""

from typing import Any

import numpy as np
import pytest

from bilinear.testing.tolerances import UNIT_ROUNDOFF

from ..subjects import PRESENT, driver

pytestmark = pytest.mark.skipif("tensorflow" not in PRESENT, reason="it is Keras'")

RATES = (0.5, 0.5, 0.125, 0.25)


@pytest.fixture
def keras() -> Any:
    driver("tensorflow")
    return pytest.importorskip("keras")


def sgd(**options: Any) -> Any:
    from bilinear.models.keras.sgd import SGD  # noqa: PLC0415 - where TensorFlow is

    return SGD(**options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_formula(keras: Any, dtype: str, momentum: float, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 2)).astype(dtype)
    gradients = rng.standard_normal((len(RATES), 3, 2)).astype(dtype)
    variable = keras.Variable(w, dtype=dtype)
    optimizer = sgd(momentum=momentum, weight_decay=weight_decay)
    value, buffer = w.astype(np.float64), np.zeros((3, 2))
    for rate, gradient in zip(RATES, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        buffer = momentum * buffer + gradient + weight_decay * value
        value = value - rate * buffer
        # four roundings a step, of numbers of some units
        bound = 40 * len(RATES) * UNIT_ROUNDOFF[dtype]
        np.testing.assert_allclose(variable.numpy(), value, rtol=0, atol=bound)


def test_it_is_saved_with_a_model(keras: Any, tmp_path: Any) -> None:
    x, y = np.ones((4, 3), "f"), np.zeros((4, 2), "f")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=sgd(learning_rate=0.1, momentum=0.5, weight_decay=0.25), loss="mse")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    config = again.optimizer.get_config()
    assert (config["momentum"], config["weight_decay"]) == (0.5, 0.25)
    for one in model, again:
        one.fit(x, y, epochs=1, verbose=0)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(again.optimizer.momenta) == 2
