"""The derivatives of BatchNorm in Flax, whose variance has a formula of this package."""

import numpy as np
import pytest

from bilinear.models.plan_layers import BatchNorm
from bilinear.testing.closeness import assert_rounded

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
backbone = pytest.importorskip("bilinear.models.jax.backbone")

EPS = 1e-5
"""torchvision's, and the default of a plan."""


def _gradient(x: np.ndarray, scale: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """The gradient of ``sum(cotangent · BatchNorm(x))``: Ioffe and Szegedy 2015, section 3."""
    deviation = np.sqrt(((x - x.mean(0)) ** 2).mean(0) + EPS)
    normal = (x - x.mean(0)) / deviation
    along = normal * (cotangent * normal).mean(0)
    return scale / deviation * (cotangent - cotangent.mean(0) - along)


def test_two_derivatives_of_batch_statistics() -> None:
    """The second one by the complex step; offsets of 100 deviations lose digits."""
    rng = np.random.default_rng(3)
    x, cotangent, tangent = (rng.standard_normal((8, 5)) for _ in range(3))
    x += np.array([0, 1, -10, 100, -100])
    scale = rng.standard_normal(5)
    layer = backbone.BatchNorm(BatchNorm("bn", 5), "float64")
    layer.scale[...] = jax.numpy.asarray(scale)
    graph, state = nnx.split(layer)

    def run(x):
        return (nnx.merge(graph, state, copy=True)(x) * cotangent).sum()

    shaped = (x.reshape(2, 2, 2, 5), tangent.reshape(2, 2, 2, 5))
    cotangent = cotangent.reshape(2, 2, 2, 5)
    first, second = jax.jvp(jax.grad(run), *([jax.numpy.asarray(a)] for a in shaped))
    flat = cotangent.reshape(8, 5)
    expected = _gradient(x, scale, flat)
    assert_rounded(np.reshape(first, (8, 5)), expected, 64, scale=100 * np.abs(expected).max())
    expected = np.imag(_gradient(x + 1e-30j * tangent, scale, flat)) / 1e-30
    assert_rounded(np.reshape(second, (8, 5)), expected, 64, scale=100 * np.abs(expected).max())
