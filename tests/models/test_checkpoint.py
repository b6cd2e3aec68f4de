"""The portable file: round trips, and errors that name the wrong tensor."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bilinear.contract import Spec
from bilinear.data.images import Preprocessing
from bilinear.models import checkpoint, plans
from bilinear.models.checkpoint import Custom, Description

POOL = {"name": "BilinearPool", "reduction": "mean", "eps": 1e-10, "l2_eps": 1e-12}
TINY = Custom("my_net", "torch", 2)


def describe(**changes):
    """A B-CNN of three classes on a custom module of two channels: a file of a few bytes."""
    fields = {
        "backbone": TINY,
        "backbone_b": None,
        "num_classes": 3,
        "descriptor_size": 4,
        "pooling": POOL,
        "classes": ("brick", "grass", "gravé"),
        "preprocessing": Preprocessing(64, 80),
    }
    return Description(**fields | changes)


def tiny(dtype="float32"):
    rng = np.random.default_rng(0)
    kind = plans.DTYPES[dtype]
    return {
        "backbone.conv.weight": rng.standard_normal((2, 3, 1, 1)).astype(kind),
        "backbone.norm.running_mean": np.zeros(2, kind),
        "backbone.norm.num_batches_tracked": np.array(7),
        "classifier.weight": rng.standard_normal((3, 4)).astype(kind),
        "classifier.bias": rng.standard_normal(3).astype(kind),
    }


def layout(tensors):
    return {name: Spec(array.shape, array.dtype.name) for name, array in tensors.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert found[name].shape == expected[name].shape
        assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    checkpoint.write(path, describe(), tiny())
    return path


def refused(path, words, **arguments):
    """Check the error of `read`; it names the file."""
    with pytest.raises(ValueError, match=words) as caught:
        checkpoint.read(path, layout(tiny()), **arguments)
    assert str(caught.value).startswith(f"load {path}: ")


# --- what goes in comes out ---


@pytest.mark.parametrize("dtype", plans.DTYPES)
def test_round_trip(path, dtype):
    tensors = tiny(dtype)
    momentum = {"classifier.bias": tensors["classifier.bias"] * 2}
    description = describe(dtype=dtype)
    checkpoint.write(path, description, tensors, momentum)
    found = checkpoint.read(path, layout(tensors), momentum=True)
    assert found.description == checkpoint.read_description(path) == description
    assert_same(found.tensors, tensors)
    assert_same(found.momentum, momentum)
    assert checkpoint.read(path, layout(tensors)).momentum is None


@pytest.mark.parametrize(
    ("first", "second", "dtype"), [("resnet18", None, "float16"), ("vgg16", TINY, "bfloat16")]
)
def test_named_backbones_need_no_expectation(path, first, second, dtype):
    size = 512 * 512 if second is None else 1024
    description = describe(backbone=first, backbone_b=second, descriptor_size=size, dtype=dtype)
    tensors = plans.initial_tensors(first, None, plans.Head(3, size), seed=0, dtype=dtype)
    own = {"backbone_b.conv.weight": np.ones((2, 3), np.float32)} if second else {}
    checkpoint.write(str(path), description, tensors | own)
    found = checkpoint.read(str(path), layout(own) or None)
    assert_same(found.tensors, tensors | own)
    assert list(found.tensors)[-1] == "classifier.bias"


def test_equal_content_gives_equal_bytes(tmp_path):
    tensors = tiny()
    momentum = {"classifier.bias": tensors["classifier.bias"]}
    checkpoint.write(tmp_path / "a", describe(), tensors, momentum)
    backwards = dict(reversed(tensors.items()))
    backwards["classifier.weight"] = np.asfortranarray(backwards["classifier.weight"])
    checkpoint.write(tmp_path / "b", describe(), backwards, momentum)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_plain_safetensors_with_one_entry(saved):
    assert_same(load_file(saved), tiny())
    with safe_open(saved, "np") as file:
        metadata = file.metadata()
    assert list(metadata) == ["bilinear"]
    data = json.loads(metadata["bilinear"])
    assert data["format"] == "bilinear-bcnn"
    assert data["format_version"] == 1
    assert data["backbone"] == {"custom": "my_net", "framework": "torch", "channels": 2}
    assert data["preprocessing"]["size"] == 64


def test_read_returns_independent_arrays(saved):
    found = checkpoint.read(saved, layout(tiny()))
    found.tensors["classifier.bias"][:] = 0
    assert_same(checkpoint.read(saved, layout(tiny())).tensors, tiny())


def test_other_pools_and_empty_momentum_are_kept(path):
    pooling = {"name": "OuterMaxPool", "eps": 0.0, "l2_eps": 1e-12}
    description, tensors = describe(pooling=pooling), tiny()
    checkpoint.write(path, description, tensors, {})
    found = checkpoint.read(path, layout(tensors))
    assert found.description.pooling == description.pooling
    with pytest.raises(ValueError, match="needs a file saved with momentum"):
        checkpoint.read(path, layout(tensors), momentum=True)


# --- what `write` refuses, leaving what was there ---


def without(name):
    return {key: array for key, array in tiny().items() if key != name}


def holed(value):
    array = tiny()["classifier.weight"].copy()
    array[1, 2] = value
    return array


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classifier.weight": holed(np.nan)}, r"'classifier.weight' must be finite; got nan at"),
        ({"classifier.weight": holed(-np.inf)}, r"got -inf at \(1, 2\)"),
        ({"classifier.weight": np.zeros((4, 3), np.float32)}, r"float32 \(3, 4\); got float32 \(4"),
        ({"classifier.bias": np.zeros(3)}, r"must be float32 \(3,\); got float64"),
        ({"classifier.scale": np.zeros(3, np.float32)}, "'classifier.scale' must not be there"),
        ({"backbone_b.x": np.zeros(3, np.float32)}, "'backbone_b.x' must not be there"),
    ],
)
def test_tensors_that_do_not_fit_are_not_written(saved, changes, words):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=words):
        checkpoint.write(saved, describe(), tiny() | changes)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_missing_tensor_is_not_written(path):
    with pytest.raises(ValueError, match=r"'classifier\.bias' must be there"):
        checkpoint.write(path, describe(), without("classifier.bias"))
    assert not path.exists()


@pytest.mark.parametrize(
    ("momentum", "words"),
    [
        ({"classifier.scale": np.zeros(3, np.float32)}, r"'momentum\.classifier\.scale' must not"),
        ({"backbone.norm.running_mean": np.zeros(2, np.float32)}, "running_mean' must not be"),
        ({"classifier.bias": np.zeros(4, np.float32)}, r"got float32 \(4,\)"),
        ({"classifier.bias": np.zeros(3)}, "got float64"),
        ({"classifier.bias": np.full(3, np.inf, np.float32)}, r"'momentum.* must be finite"),
    ],
)
def test_momentum_that_does_not_fit_is_not_written(path, momentum, words):
    with pytest.raises(ValueError, match=words):
        checkpoint.write(path, describe(), tiny(), momentum)
    assert not path.exists()


# --- what `read` refuses ---


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(saved, length):
    content = saved.read_bytes()
    saved.write_bytes(content[:length])
    refused(saved, "must be a complete safetensors file")


def test_a_foreign_file_is_refused(path):
    path.write_bytes(b"\x80\x04\x95" + bytes(400))  # a pickle's first bytes
    refused(path, "must be a complete safetensors file")
    save_file(tiny(), path)
    refused(path, "must be a B-CNN written by save")
    save_file(tiny(), path, {"format": "pt"})
    refused(path, "must be a B-CNN written by save")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classifier.weight": holed(np.nan)}, "'classifier.weight' must be finite"),
        ({"classifier.weight": np.zeros((4, 3), np.float32)}, r"got float32 \(4, 3\)"),
        ({"classifier.bias": np.zeros(3)}, "got float64"),
        ({"backbone.norm.num_batches_tracked": np.array(1.0)}, r"must be int64 \(\); got float64"),
        ({"surprise": np.zeros(1)}, "'surprise' must not be there"),
        ({"momentum.surprise": np.zeros(1)}, r"'momentum\.surprise' must not be there"),
        ({"momentum.classifier.bias": np.zeros(4, np.float32)}, r"got float32 \(4,\)"),
    ],
)
def test_wrong_tensors_are_refused(path, changes, words):
    save_file(tiny() | changes, path, {"bilinear": describe().to_json()})
    refused(path, words)


def test_missing_tensors_are_refused(path):
    for name in tiny():
        save_file(without(name), path, {"bilinear": describe().to_json()})
        refused(path, f"'{name}' must be there")


def test_momentum_is_checked_when_it_is_read(path):
    bad = {"momentum.classifier.bias": np.full(3, np.nan, np.float32)}
    save_file(tiny() | bad, path, {"bilinear": describe().to_json()})
    assert_same(checkpoint.read(path, layout(tiny())).tensors, tiny())
    refused(path, r"'momentum\.classifier\.bias' must be finite", momentum=True)


def test_unreadable_path_raises_the_error_of_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.read(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        checkpoint.read(tmp_path)


def test_custom_backbone_opens_in_its_framework_with_its_module(saved):
    with pytest.raises(ValueError, match=r"load\(path, backbone=module\)"):
        checkpoint.read(saved)
    op, description = f"load {saved}", checkpoint.read_description(saved)
    with pytest.raises(ValueError, match=r"opens only there; got jax.*bilinear\.torch\.load"):
        checkpoint.check_streams(op, description, "jax", backbone=True)
    with pytest.raises(ValueError, match=r"'my_net'.*must be given; got no module"):
        checkpoint.check_streams(op, description, "torch")
    checkpoint.check_streams(op, description, "torch", backbone=True)
    named = replace(description, backbone="resnet18")
    with pytest.raises(ValueError, match=r"for 'resnet18'\. Leave backbone= out"):
        checkpoint.check_streams(op, named, "torch", backbone=True)
