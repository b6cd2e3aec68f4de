"""The portable file between every two frameworks, and files that are refused."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bilinear.data import images as framework_free
from bilinear.data.images import Preprocessing

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .test_models import ARCHITECTURES, CLASSES, build, images
from .test_weights import HEADS, write_sparse

over_backends = pytest.mark.parametrize("backend", PRESENT)
over_backbones = pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
NAMES = ["fern", "moss", "stone"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("writer", PRESENT)
def test_every_framework_opens_the_files_of_every_other(
    writer: str, architecture: str, tmp_path: Path
) -> None:
    """Logits are bit-identical in one framework, and within `LOGITS` between two."""
    path = tmp_path / "model.safetensors"
    x = images(2, (64, 64), "float32")
    model = build(writer, architecture, seed=5)
    if "resnet18" in ARCHITECTURES[architecture].values():  # statistics that are not 0 and 1
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


@over_backends
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_files_keep_the_dtype(backend: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = build(backend, "resnet18", dtype=dtype)
    driver(backend).save(model, path)
    opened = driver(backend).tensors(driver(backend).load(path))
    for name, array in driver(backend).tensors(model).items():
        assert opened[name].dtype == array.dtype
        np.testing.assert_array_equal(opened[name], array)


def test_a_framework_that_narrows_float64_refuses_such_a_file(tmp_path: Path) -> None:
    """The error names the setting that allows it."""
    narrowing = [b for b in PRESENT if hasattr(driver(b), "load_without_float64")]
    if not narrowing:
        pytest.skip("no framework here narrows float64")
    path = tmp_path / "double.safetensors"
    for backend in narrowing:
        driver(backend).save(build(backend, "resnet18", dtype="float64"), path)
        with pytest.raises(ValueError, match=r"double\.safetensors.*enable_x64"):
            driver(backend).load_without_float64(path)


@pytest.mark.parametrize("writer", PRESENT)
def test_momentum_is_read_by_every_framework(writer: str, tmp_path: Path) -> None:
    """Buffers of a training step, saved by one framework and read by every other."""
    path = tmp_path / "model.safetensors"
    x, labels = images(2, (40, 40), "float64"), np.array([0, 2])
    model = build(writer, "resnet18", dtype="float64")
    state = driver(writer).sgd_step(model, x, labels, None, lr=0.1, momentum=0.9, weight_decay=1e-4)
    buffers = driver(writer).momentum(model, state)
    driver(writer).save(model, path, momentum=buffers)
    with safe_open(path, "np") as file:
        stored = {k: file.get_tensor(k) for k in file.keys() if k.startswith("momentum.")}  # noqa: SIM118
    assert "momentum.backbone.conv1.weight" in stored
    assert "momentum.backbone.bn1.running_mean" not in stored
    for reader in PRESENT:
        opened, read = driver(reader).load(path, momentum=True)
        again = tmp_path / f"{reader}.safetensors"
        driver(reader).save(opened, again, momentum=read)
        assert again.read_bytes() == path.read_bytes(), reader


@over_backends
def test_pooling_arguments_are_read_by_every_framework(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    pool = driver(backend).pool(reduction="sum", eps=1e-3, l2_eps=1e-6)
    driver(backend).save(build(backend, "resnet18", pool=pool), path)
    for reader in PRESENT:
        opened = driver(reader).load(path).pool
        assert (opened.reduction, opened.eps, opened.l2_eps) == ("sum", 1e-3, 1e-6)


@over_backends
@pytest.mark.parametrize("damage", ["truncated", "extra", "missing", "misshapen", "not finite"])
def test_a_damaged_file_is_refused_by_name(backend: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    driver(backend).save(build(backend, "resnet18"), path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    bias = "classifier.bias"
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "extra":
            tensors["classifier.extra"] = np.zeros(1, np.float32)
        case "missing":
            del tensors[bias]
        case "misshapen":
            tensors[bias] = np.zeros(CLASSES + 1, np.float32)
        case "not finite":
            tensors[bias] = np.full_like(tensors[bias], np.nan)
    if damage != "truncated":
        save_file(tensors, path, metadata)
    named = {"truncated": "", "extra": "classifier.extra"}.get(damage, bias)
    with pytest.raises(ValueError, match=rf"broken\.safetensors.*{named}"):
        driver(backend).load(path)


@over_backends
def test_saving_a_broken_model_keeps_the_old_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = build(backend, "resnet18")
    driver(backend).save(model, path)
    before = path.read_bytes()
    driver(backend).assign(model, {"classifier.bias": np.full(CLASSES, np.inf, np.float32)})
    with pytest.raises(ValueError, match=r"classifier\.bias"):
        driver(backend).save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def donor(backend: str, backbone: str) -> dict[str, np.ndarray]:
    """A backbone's tensors of another seed, by their names in torchvision's files."""
    tensors = driver(backend).tensors(build(backend, backbone, seed=11))
    prefix = "backbone."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@over_backends
@over_backbones
def test_weights_from_a_file_set_the_backbone_and_leave_the_classifier(
    backend: str, backbone: str, tmp_path: Path
) -> None:
    given = donor(backend, backbone)
    path = tmp_path / f"{backbone}.safetensors"
    shapes = {name: array.shape for name, array in given.items()}
    write_sparse(path, shapes | HEADS[backbone, "torchvision"], given)
    model = build(backend, backbone, weights=path)
    plain = driver(backend).tensors(build(backend, backbone))
    expected = plain | {f"backbone.{name}": array for name, array in given.items()}
    for name, array in driver(backend).tensors(model).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert model.preprocessing == Preprocessing()


@over_backends
def test_a_pair_of_weights_sets_both_streams(backend: str, tmp_path: Path) -> None:
    given = donor(backend, "resnet18")
    path = tmp_path / "resnet18.safetensors"
    save_file(given, path)
    tensors = driver(backend).tensors(build(backend, "resnet18 twice", weights=(path, path)))
    for name, array in given.items():
        for stream in ("backbone", "backbone_b"):
            np.testing.assert_array_equal(tensors[f"{stream}.{name}"], array, err_msg=name)


@over_backends
@over_backbones
def test_torchvision_checkpoints_open_in_torch_alone(
    backend: str, backbone: str, tmp_path: Path
) -> None:
    """The heads have torchvision's names and are not read."""
    path = tmp_path / f"{backbone}.pth"
    write = getattr(driver(backend), "write_pth", None)
    if write is None:
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=rf"{backbone}\.pth.*bilinear\.torch"):
            build(backend, backbone, weights=path)
        return
    given = donor(backend, backbone)
    others = {name: np.array(7) for name in HEADS[backbone, "torchvision"]}
    write(path, given | others)
    loaded = driver(backend).tensors(build(backend, backbone, weights=str(path)))
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


@over_backends
def test_models_are_copied_whole(backend: str) -> None:
    x = images(2, (40, 40), "float32")
    model = build(backend, "resnet18")
    logits = driver(backend).logits(model, x)
    for way in driver(backend).copies:
        result = driver(backend).logits(driver(backend).copies[way](model), x)
        np.testing.assert_array_equal(result, logits, err_msg=way)
