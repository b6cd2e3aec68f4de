"""The portable file between every two frameworks, and files that are refused."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from bilinear.data import images as framework_free
from bilinear.data.images import Preprocessing

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .test_models import ARCHITECTURES, CLASSES, DEEPER, build, images, size
from .test_weights import rest

over_backends = pytest.mark.parametrize("backend", PRESENT)
NAMES = ["fern", "moss", "stone"]


@pytest.mark.parametrize("architecture", ARCHITECTURES | DEEPER)
@pytest.mark.parametrize("writer", PRESENT)
def test_every_framework_opens_the_files_of_every_other(
    writer: str, architecture: str, tmp_path: Path
) -> None:
    """Logits are bit-identical in one framework, and within `LOGITS` between two."""
    path = tmp_path / "model.safetensors"
    x = images(2, size(architecture, (64, 64)), "float32")
    model = build(writer, architecture, seed=5)
    if architecture != "vgg16":  # statistics that are not 0 and 1
        driver(writer).logits(model, x, training=True)
    preprocessing = Preprocessing(size=64, mean=(0.5, 0.5, 0.5))
    driver(writer).save(model, path, classes=NAMES, preprocessing=preprocessing)
    logits = driver(writer).logits(model, x)
    for reader in PRESENT:
        opened = driver(reader).load(path)
        assert opened.classes == tuple(NAMES)
        assert opened.preprocessing == preprocessing
        result = driver(reader).logits(opened, x)
        if reader == writer:
            np.testing.assert_array_equal(result, logits)
        else:
            assert relative_error(result, logits) <= LOGITS["float32"], reader
        again = tmp_path / f"{reader}.safetensors"
        driver(reader).save(opened, again)
        assert again.read_bytes() == path.read_bytes(), f"{writer} and {reader} write two files"


def test_a_framework_that_narrows_float64_refuses_such_a_file(tmp_path: Path) -> None:
    """The error names the setting that allows it."""
    narrowing = [b for b in PRESENT if hasattr(driver(b), "without_64_bits")]
    if not narrowing:
        pytest.skip("no framework here narrows float64")
    path = tmp_path / "double.safetensors"
    for backend in narrowing:
        driver(backend).save(build(backend, "resnet18", taps=("layer1",), dtype="float64"), path)
        error = pytest.raises(ValueError, match=r"double\.safetensors.*enable_x64")
        with driver(backend).without_64_bits(), error:
            driver(backend).load(path)


def donor(backend: str) -> dict[str, np.ndarray]:
    """The tensors of a ResNet18 of another seed, by their names in torchvision's files."""
    tensors = driver(backend).tensors(build(backend, "resnet18", seed=11))
    prefix = "backbone."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@over_backends
@pytest.mark.parametrize("streams", [("backbone",), ("backbone", "backbone_b")])
def test_weights_from_a_file_set_the_backbones_and_leave_the_classifier(
    backend: str, streams: tuple[str, ...], tmp_path: Path
) -> None:
    given = donor(backend)
    path = tmp_path / "resnet18.safetensors"
    save_file(given | rest("resnet18", "torchvision"), path)
    architecture = "resnet18 twice" if len(streams) == 2 else "resnet18"
    weights = (path, path) if len(streams) == 2 else path
    model = build(backend, architecture, weights=weights)
    expected = driver(backend).tensors(build(backend, architecture))
    expected |= {f"{s}.{name}": array for s in streams for name, array in given.items()}
    for name, array in driver(backend).tensors(model).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert model.preprocessing == Preprocessing()


@over_backends
def test_torchvision_checkpoints_open_in_torch_alone(backend: str, tmp_path: Path) -> None:
    """The heads have torchvision's names and are not read."""
    path = tmp_path / "resnet18.pth"
    write = getattr(driver(backend), "write_pth", None)
    if write is None:
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=r"resnet18\.pth.*bilinear\.torch"):
            build(backend, "resnet18", weights=path)
        return
    given = donor(backend)
    write(path, given | rest("resnet18", "torchvision"))
    loaded = driver(backend).tensors(build(backend, "resnet18", weights=str(path)))
    for name, array in given.items():
        np.testing.assert_array_equal(loaded[f"backbone.{name}"], array, err_msg=name)


def test_a_pth_file_is_never_trusted(tmp_path: Path) -> None:
    """A pickle that would run code is refused, and the code does not run."""
    if "torch" not in PRESENT:
        pytest.skip("only PyTorch opens such files")
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(_Touch(str(mark))))
    with pytest.raises(Exception, match=r"evil\.pth"):
        build("torch", "resnet18", weights=path)
    importlib.import_module("torch").save({"state_dict": {}, "options": _Touch(str(mark))}, path)
    with pytest.raises(ValueError, match=r"evil\.pth: .*it contains [a-z_]*\.open\. It is damaged"):
        build("torch", "resnet18", weights=path)
    assert not mark.exists()


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@over_backends
def test_load_image_gives_the_input_of_a_model(backend: str, tmp_path: Path) -> None:
    """A batch of one image in the framework's layout, with equal values in all."""
    path, png = tmp_path / "model.safetensors", tmp_path / "fern.png"
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(png)
    preprocessing = Preprocessing(size=(40, 48))
    driver(backend).save(build(backend, "resnet18"), path, preprocessing=preprocessing)
    namespace = importlib.import_module(f"bilinear.{backend}")
    model = namespace.load(path)
    batch = namespace.load_image(png, model.preprocessing)
    assert tuple(model(batch).shape) == (1, CLASSES)
    array = np.asarray(batch)
    assert array.dtype == np.float32
    assert array.shape == ((1, 3, 40, 48) if backend == "torch" else (1, 40, 48, 3))
    last = np.moveaxis(array, 1, -1) if backend == "torch" else array
    np.testing.assert_array_equal(last, framework_free.load_image(png, preprocessing)[None])


@over_backends
def test_native_export_gives_equal_logits(backend: str, tmp_path: Path) -> None:
    """The framework's own exports, each reloaded: logits within rounding."""
    x = images(2, (64, 64), "float32")
    model = build(backend, "resnet18")
    logits = driver(backend).logits(model, x)
    for name, reloaded in driver(backend).export(model, x, tmp_path).items():
        assert relative_error(reloaded, logits) <= LOGITS["float32"], name
