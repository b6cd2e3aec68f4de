"""Keras' own VGG16 in every framework: equal feature maps of one photograph.

Beside them the files themselves, written by Keras as it writes them now, and by h5py as Keras 1
wrote the file that is published.
"""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bilinear.data.images import Preprocessing, load_images
from bilinear.models import plans
from bilinear.models.keras_weights import PREPROCESSING
from bilinear.models.weights import backbone_tensors, weights_preprocessing

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS

h5py = pytest.importorskip("h5py")

NAMES = [f"block{i}_conv{j}" for i, n in enumerate((2, 2, 3, 3, 3), 1) for j in range(1, n + 1)]
CONVOLUTIONS = [layer for layer in plans.BACKBONES["vgg16"] if isinstance(layer, plans.Conv)]
SIZE = (48, 64)


@pytest.fixture(scope="module")
def network():
    """Keras' VGG16 up to block5_conv3, of random weights and biases."""
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(3)
    network = keras.applications.VGG16(weights=None, include_top=False)
    for name in NAMES:
        bias = network.get_layer(name).bias
        bias.assign(np.random.default_rng(len(name)).normal(0, 20, bias.shape))
    return network


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    """The files of the same weights: a whole model, as of Keras 2, and weights of Keras 3."""
    folder = tmp_path_factory.mktemp("keras")
    network.save(folder / "vgg16.h5")
    network.save_weights(folder / "vgg16.weights.h5")
    return folder / "vgg16.h5", folder / "vgg16.weights.h5"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    data = pytest.importorskip("skimage.data")
    pixels = data.astronaut()[30 : 30 + SIZE[0], 190 : 190 + SIZE[1]]
    path = tmp_path_factory.mktemp("photograph") / "astronaut.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


@pytest.mark.parametrize("backend", PRESENT)
def test_feature_maps_are_those_of_keras(backend, network, written, photograph):
    """On Keras' own preprocessing of the pixels, and on that of ``model.preprocessing``."""
    import keras  # noqa: PLC0415 - only once `network` has found it

    path, pixels = photograph
    inputs = keras.applications.vgg16.preprocess_input(pixels[None].astype(np.float32))
    cut = keras.Model(network.input, network.get_layer("block5_conv3").output)
    expected = np.asarray(cut(inputs))
    model = driver(backend).model("vgg16", 2, weights=written[0])
    assert model.preprocessing == PREPROCESSING
    preprocessing = dataclasses.replace(model.preprocessing, size=SIZE)
    (maps,) = driver(backend).feature_maps(model, load_images([path], preprocessing))
    assert expected.shape == maps.shape == (1, 3, 4, 512)
    assert relative_error(maps, expected) <= LOGITS["float32"]


def test_files_of_keras_give_its_tensors(network, written):
    """Transposed, the first convolution's input channels reversed, and nothing rounded."""
    for path in written:
        tensors = backbone_tensors("vgg16", path)
        assert list(tensors) == list(plans.tensor_shapes("vgg16"))
        for name, conv in zip(NAMES, CONVOLUTIONS, strict=True):
            kernel, bias = network.get_layer(name).get_weights()
            kernel = kernel[:, :, ::-1] if name == "block1_conv1" else kernel
            np.testing.assert_array_equal(
                tensors[f"{conv.name}.weight"], kernel.transpose(3, 2, 0, 1)
            )
            np.testing.assert_array_equal(tensors[f"{conv.name}.bias"], bias)


def write_published(path, changes=None, heads=("fc1", "predictions")):
    """A file of zeros as Keras 1 wrote it, changed: {dataset: array, or None to leave it out}."""
    changes = changes or {}
    with h5py.File(path, "w") as file:
        for name, conv in zip(NAMES, CONVOLUTIONS, strict=True):
            arrays = {
                f"{name}_W_1:0": np.zeros((3, 3, conv.inputs, conv.outputs), np.float16),
                f"{name}_b_1:0": np.zeros(conv.outputs, np.float16),
            }
            arrays = {key: changes.get(key, array) for key, array in arrays.items()}
            arrays = {key: array for key, array in arrays.items() if array is not None}
            write_layer(file, name, arrays)
        write_layer(file, "block1_pool", {})
        for name in heads:
            write_layer(file, name, {f"{name}_W_1:0": np.full((3, 2), np.nan, np.float16)})
        write_layer(file, "optimizer_weights", {"iteration:0": np.zeros((), np.int64)})
    return path


def write_layer(file, name, arrays):
    group = file.create_group(name)
    group.attrs["weight_names"] = [key.encode() for key in arrays]
    for key, array in arrays.items():
        group[key] = array


def test_the_published_form_is_read_without_its_head(tmp_path):
    kernel = np.random.default_rng(1).standard_normal((3, 3, 3, 64)).astype(np.float16)
    path = write_published(tmp_path / "notop.H5", {"block1_conv1_W_1:0": kernel})
    tensors = backbone_tensors("vgg16", path)
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float16)}
    expected = kernel[:, :, ::-1].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(tensors["features.0.weight"], expected)


@pytest.mark.parametrize(
    ("changes", "heads", "words"),
    [
        ({"block3_conv2_b_1:0": None}, (), "'block3_conv2/bias' must be there"),
        ({"block1_conv1_b_1:0": np.zeros(3)}, (), r"conv1/bias' must be float64 \(64,\); got"),
        ({"block1_conv1_b_1:0": np.zeros(64, int)}, (), "must be of a real floating type; got int"),
        ({"block1_conv2_b_1:0": np.full(64, np.nan)}, (), "'block1_conv2/bias' must be finite"),
        ({}, ("dense_1",), "'dense_1/kernel' must not be there.*VGG16 of keras.applications"),
    ],
)
def test_wrong_layers_are_named_with_their_file(tmp_path, changes, heads, words):
    path = write_published(tmp_path / "wrong.h5", changes, heads)
    with pytest.raises(ValueError, match=words) as caught:
        backbone_tensors("vgg16", path)
    assert str(caught.value).startswith(f"weights {path}: ")


def test_files_that_are_not_keras_vgg16(tmp_path):
    path = write_published(tmp_path / "vgg16.h5")
    with pytest.raises(ValueError, match="weights of Keras are for 'vgg16'; got 'resnet18'"):
        backbone_tensors("resnet18", path)
    path.write_bytes(path.read_bytes()[:-1_000_000])
    with pytest.raises(ValueError, match=r"vgg16\.h5: the file must be a complete HDF5 file"):
        backbone_tensors("vgg16", path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    with pytest.raises(ValueError, match="'block1_conv1/kernel' must be there; got only 0 others"):
        backbone_tensors("vgg16", tmp_path / "other.h5")


VIRTUAL = h5py.VirtualLayout((3,), "f")
VIRTUAL[:] = h5py.VirtualSource("other", "a", (3,))
CHUNKED = {"shape": (3,), "dtype": "f", "maxshape": (None,), "chunks": (10**9,)}


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda f: f.create_dataset("a", shape=(10**13,), dtype="f"), r"'a' of shape .* in a file"),
        (lambda f: f.create_dataset("a", **CHUNKED), "'a', 12 bytes in a chunk of 4,000,000,000"),
        (lambda f: f.create_dataset("a", data=np.ones(3), external="b"), "'a' in another file"),
        (lambda f: f.create_virtual_dataset("a", VIRTUAL), "'a' in another file"),
        (lambda f: f.__setitem__("a", h5py.ExternalLink("other", "a")), "the link 'a'"),
        (lambda f: f.__setitem__("a", h5py.SoftLink("/fc1")), "the link 'a'"),
    ],
)
def test_hdf5_files_must_hold_their_data(tmp_path, monkeypatch, add, words):
    """Nothing of another file is read, and nothing is allocated for what is not stored."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("vgg16.h5", "w") as file:
        write_layer(file, "fc1", {"fc1_W_1:0": np.zeros((3, 2), np.float16)})
        add(file)
    with pytest.raises(ValueError, match=f"weights vgg16.h5: .* all its data itself; got {words}"):
        backbone_tensors("vgg16", "vgg16.h5")


def test_crash_of_the_hdf5_library_is_an_error(tmp_path, monkeypatch):
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o700)
    path = write_published(tmp_path / "vgg16.h5")
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(ValueError, match=f"weights {path}: .*; got SIGSEGV in the HDF5 library"):
        backbone_tensors("vgg16", path)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of Linux")
def test_memory_of_the_process_that_reads_hdf5_is_limited(tmp_path):
    """Whatever a damaged file makes the HDF5 library allocate."""
    code = "from bilinear.models.hdf5_copy import _limit_memory; _limit_memory(); bytearray(2**29)"
    path = tmp_path / "small.h5"
    path.write_bytes(bytes(1000))
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=file, capture_output=True, check=False
        )
    assert done.stderr.endswith(b"\nMemoryError\n")


def test_missing_h5py_is_one_sentence_with_a_remedy(tmp_path, monkeypatch):
    path = write_published(tmp_path / "vgg16.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        ImportError,
        match=r"h5py must be installed .*; got .*pip install 'bilinear\[hdf5\]'",
    ):
        backbone_tensors("vgg16", path)


@pytest.mark.parametrize(
    ("weights", "streams", "expected"),
    [
        (None, ("vgg16", None), None),
        ((None, None), ("vgg16", "vgg16"), None),
        ("imagenet", ("vgg16", "resnet18"), Preprocessing()),
        ("a.h5", ("vgg16", "vgg16"), PREPROCESSING),
        ((None, "a.hdf5"), ("vgg16", "vgg16"), PREPROCESSING),
        (("imagenet", None), ("vgg16", None), Preprocessing()),
        ("imagenet", ("inception_v3", None), Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)),
    ],
)
def test_the_preprocessing_comes_with_the_weights(weights, streams, expected):
    assert weights_preprocessing(weights, *streams) == expected


def test_two_streams_cannot_expect_two_images():
    """One expects red first in [0, 1], the other blue first from 0 to 255."""
    for given in (("a.h5", "imagenet"), "vgg16", "resnet18"), ("imagenet", "inception_v3", "vgg16"):
        with pytest.raises(ValueError, match="both streams must expect the same preprocessing"):
            weights_preprocessing(*given)
