"""The Keras layers on JAX and PyTorch, in processes of their own."""

from pathlib import Path

import numpy as np
import pytest

from bilinear.testing import battery

from ..drivers.keras import BACKENDS, KIT_DRIVERS, on
from ..tolerances import RECOMPUTED

if not KIT_DRIVERS:
    pytest.skip("Keras has no second backend here", allow_module_level=True)

TestLayers = battery(*KIT_DRIVERS, operators=())

IMAGES = np.random.default_rng(0).standard_normal((4, 3, 5, 3)).astype(np.float32)
IMAGES[np.random.default_rng(1).random(IMAGES.shape[:-1]) < 0.3] = 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_file_on_every_backend(backend: str, tmp_path: Path) -> None:
    """A user's model with all layers and masks; training takes equal steps, too."""
    path = tmp_path / "model.keras"
    expected, of_clone = on(backend, "write", path, IMAGES)
    np.testing.assert_allclose(of_clone, expected, **RECOMPUTED)
    targets = np.zeros_like(expected)
    trained = []
    for other in BACKENDS:
        called, predicted, later = on(other, "read", path, IMAGES, targets)
        np.testing.assert_allclose(called, expected, **RECOMPUTED, err_msg=other)
        np.testing.assert_allclose(predicted, expected, **RECOMPUTED, err_msg=other)
        trained.append(later)
    assert np.abs(trained[0] - expected).max() > 1e-3
    for later in trained[1:]:
        np.testing.assert_allclose(later, trained[0], rtol=1e-3, atol=1e-4)


def test_layers_compute_as_their_dtype_policy_says() -> None:
    """Weights and maps are rounded to bfloat16, accumulated in float32 and rounded once."""
    expected, *others = (
        on(backend, "under_policy", "mixed_bfloat16", IMAGES) for backend in BACKENDS
    )
    for results in others:
        for result, value in zip(results, expected, strict=True):
            assert result.dtype.name == value.dtype.name == "bfloat16"
            # the root of float32 roundings where a sum cancels
            np.testing.assert_allclose(
                result.astype("f"), value.astype("f"), rtol=2.0**-7, atol=2e-3
            )
