"""Named backbones on images of other channels: one file and equal values in every framework."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilinear.data.images import Preprocessing
from bilinear.models import plans
from bilinear.models.weights import adapt_channels, backbone_tensors, weights_preprocessing

from ..agreement import assert_models_agree, relative_error
from ..subjects import PRESENT, driver, needs_a_framework
from ..tolerances import LOGITS
from .test_models import CLASSES

SMALL = {"backbone": "resnet18", "taps": ("layer1",), "projection": 4}
GRAY = Preprocessing(64, mean=(0.5,), std=(0.25,))


def images(n: int, channels: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((n, 40, 35, channels)).astype(dtype)


@pytest.mark.parametrize("writer", PRESENT)
def test_a_gray_model_opens_in_every_framework(writer: str, tmp_path: Path) -> None:
    path, x = tmp_path / "gray.safetensors", images(2, 1, "float32")
    model = driver(writer).model(num_classes=CLASSES, in_channels=1, **SMALL)
    driver(writer).save(model, path, preprocessing=GRAY)
    logits = driver(writer).logits(model, x)
    for reader in PRESENT:
        opened = driver(reader).load(path)
        assert (opened.streams.in_channels, opened.preprocessing) == (1, GRAY)
        result = driver(reader).logits(opened, x)
        assert relative_error(result, logits) <= LOGITS["float32"], reader
        driver(reader).save(opened, tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes(), reader
        with pytest.raises(Exception, match=r"images must be \(N, .*1.*\); got"):
            driver(reader).logits(opened, images(1, 3, "float32"))
    transferred = driver(writer).model("resnet18", 5, weights=path)
    assert transferred.streams.in_channels == 1
    with pytest.raises(ValueError, match="in_channels must be that of the file, 1; got 3"):
        driver(writer).model("resnet18", 5, weights=path, in_channels=3)
    with pytest.raises(ValueError, match=r"mean must have 1 values, one for each of in_channels"):
        driver(writer).save(model, path, preprocessing=Preprocessing())
    with pytest.raises(ValueError, match=r"in_channels must be a positive integer.*; got 0"):
        driver(writer).model("resnet18", 5, in_channels=0)


@pytest.mark.full
@pytest.mark.skipif(len(PRESENT) < 2, reason="there is nothing to compare with")
@pytest.mark.parametrize("channels", [1, 5])
def test_gradients_agree(channels: int) -> None:
    x, results = images(3, channels, "float64"), {}
    cotangent = np.random.default_rng(8).standard_normal((3, CLASSES))
    for backend in PRESENT:
        given = SMALL | {"in_channels": channels, "dtype": "float64"}
        model = driver(backend).model(num_classes=CLASSES, **given)
        logits, gradients, dx = driver(backend).gradients(model, x, cotangent, training=True)
        results[backend] = {"logits": logits, "images": dx, **gradients}
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        assert_models_agree(first, second, "float64", f"{channels} channels, {a} against {b}")


@needs_a_framework
def test_weights_for_color_images_are_adapted(tmp_path: Path) -> None:
    """One channel takes the sum of the kernels; more take them in turn, times 3 / channels."""
    rng, path = np.random.default_rng(3), tmp_path / "color.safetensors"
    shapes = plans.tensor_shapes("resnet18")
    given = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    save_file(given, path)
    red, green, blue = np.moveaxis(given["conv1.weight"].astype(np.float64), 1, 0)
    expected = {
        1: [red + green + blue],
        2: [red * 1.5, green * 1.5],
        4: [red * 0.75, green * 0.75, blue * 0.75, red * 0.75],
    }
    for count, kernels in expected.items():
        tensors = backbone_tensors("resnet18", path, count)
        found = tensors.pop("conv1.weight")
        np.testing.assert_array_equal(found, np.stack(kernels, 1).astype(np.float32))
        assert {name: array.shape for name, array in tensors.items()}.items() <= shapes.items()
        save_file(tensors | {"conv1.weight": found + 1}, tmp_path / "own.safetensors")
        own = backbone_tensors("resnet18", tmp_path / "own.safetensors", count)
        np.testing.assert_array_equal(own["conv1.weight"], found + 1, "its channels are these")
    np.testing.assert_array_equal(adapt_channels(given["conv1.weight"], 3), given["conv1.weight"])
    with pytest.raises(ValueError, match=r"conv1\.weight' must be float32 \(64, 3, 7, 7\); got"):
        backbone_tensors("resnet18", tmp_path / "own.safetensors", 5)
    model = driver(PRESENT[0]).model(num_classes=CLASSES, in_channels=1, weights=path, **SMALL)
    assert model.preprocessing == weights_preprocessing(path, "resnet18", None, 1)


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [
        (1, [0.449], [0.226]),
        (2, [0.485, 0.456], [0.229, 0.224]),
        (4, [0.485, 0.456, 0.406, 0.485], [0.229, 0.224, 0.225, 0.229]),
    ],
)
def test_the_preprocessing_fits_the_adapted_weights(
    channels: int, mean: list[float], std: list[float]
) -> None:
    found = weights_preprocessing("imagenet", "resnet18", None, channels)
    assert found is not None
    np.testing.assert_allclose(found.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(found.std, std, rtol=1e-15)
