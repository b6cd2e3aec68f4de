"""The portable file: round trips, and errors that name the wrong tensor."""

import json
import os
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bilinear.contract import Spec
from bilinear.data.images import Preprocessing
from bilinear.models import checkpoint, plans
from bilinear.models.checkpoint import Custom, Description
from bilinear.models.construction import Parts

POOL = {"name": "BilinearPool", "reduction": "mean", "eps": 1e-10, "l2_eps": 1e-12}
TINY = Custom("my_net", "torch", 2)
VARIANCE = "backbone.norm.running_var"


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


def test_empty_momentum_is_none(path):
    checkpoint.write(path, describe(), tiny(), {})
    refused(path, "needs a file saved with momentum", momentum=True)


# --- what `write` and `read` refuse ---


def both_ways(path, description, tensors, momentum=None):
    """Return the errors of `write`, which leaves what was there, and of `read` for the same."""
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=f"^save {path}") as caught:
        checkpoint.write(path, description, tensors, momentum)
    assert path.read_bytes() == b"before"
    assert os.listdir(path.parent) == [path.name]
    own = {name: spec for name, spec in layout(tensors).items() if name == VARIANCE}
    buffers = {f"momentum.{name}": array for name, array in (momentum or {}).items()}
    save_file(tensors | buffers, path, {"bilinear": description.to_json()})
    with pytest.raises(ValueError, match=f"^load {path}") as late:
        checkpoint.read(path, layout(tiny()) | own, bool(momentum))
    return str(caught.value), str(late.value)


def changed(changes):
    return {name: array for name, array in (tiny() | changes).items() if array is not None}


def holed(value):
    array = tiny()["classifier.weight"].copy()
    array[1, 2] = value
    return array


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classifier.weight": holed(np.nan)}, "'classifier.weight' must be finite; got n"),
        ({"classifier.weight": holed(-np.inf)}, r"got -inf at \(1, 2\)"),
        ({VARIANCE: np.float32([0, -1])}, f"'{VARIANCE}' must be finite and not neg.*got -1.0 at"),
        ({"classifier.weight": zeros(4, 3)}, r"float32 \(3, 4\); got float32 \(4"),
        ({"classifier.bias": np.zeros(3)}, r"must be float32 \(3,\); got float64"),
        ({"classifier.scale": zeros(3)}, "'classifier.scale' must not be there"),
        ({"backbone_b.x": zeros(3)}, "'backbone_b.x' must not be there"),
        ({"classifier.bias": None}, r"'classifier\.bias' must be there"),
    ],
)
def test_wrong_tensors_are_neither_written_nor_read(path, changes, words):
    for found in both_ways(path, describe(), changed(changes)):
        assert re.search(words, found), found


@pytest.mark.parametrize(
    ("momentum", "words"),
    [
        ({"classifier.scale": zeros(3)}, r"'momentum\.classifier\.scale' must not"),
        ({"backbone.norm.running_mean": zeros(2)}, "running_mean' must not be"),
        ({"classifier.bias": zeros(4)}, r"got float32 \(4,\)"),
        ({"classifier.bias": np.zeros(3)}, "got float64"),
        ({"classifier.bias": zeros(3) + np.inf}, r"'momentum.* must be finite"),
    ],
)
def test_wrong_momentum_is_neither_written_nor_read(path, momentum, words):
    for found in both_ways(path, describe(), tiny(), momentum):
        assert re.search(words, found), found


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


def test_wrong_tensors_of_a_custom_module_are_not_read(path):
    """`write` takes the tensors that the module has; the header is checked before the values."""
    counter, mean = "backbone.norm.num_batches_tracked", "backbone.norm.running_mean"
    for tensors, words in (
        (tiny() | {counter: np.array(1.0)}, r"must be int64 \(\); got float64"),
        (changed({mean: None}), f"'{mean}' must be there"),
    ):
        save_file(tensors, path, {"bilinear": describe().to_json()})
        refused(path, words)
    assert checkpoint.read_description(path) == describe()


def test_momentum_that_is_not_read_is_not_checked(path):
    bad = {"momentum.classifier.bias": zeros(3) + np.nan}
    save_file(tiny() | bad, path, {"bilinear": describe().to_json()})
    assert_same(checkpoint.read(path, layout(tiny())).tensors, tiny())


def test_unreadable_path_raises_the_error_of_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.read(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        checkpoint.read(tmp_path)


def test_custom_backbone_needs_its_module(saved):
    with pytest.raises(ValueError, match=r"load\(path, backbone=module\)"):
        checkpoint.read(saved)


def test_description_and_tensors_are_those_of_one_file(saved, tmp_path):
    other = tmp_path / "other"
    tensors = tiny() | {"classifier.bias": zeros(3)}
    checkpoint.write(other, describe(classes=("x", "y", "z")), tensors)
    with checkpoint.open_portable(saved) as file:
        os.replace(other, saved)
        found = file.read(layout(tiny()))
    assert found.description == describe()
    assert_same(found.tensors, tiny())


def test_weights_are_read_by_one_open(saved):
    """The file may be replaced while a model is built."""
    found = checkpoint.read_portable(saved)
    saved.unlink()
    parts = Parts(None, None, None, 4, None, {}, ("weights", found), "float32")  # pyright: ignore
    own = {name: array for name, array in tiny().items() if name.startswith("backbone")}
    assert_same(parts.tensors(lambda: layout(tiny())), own)
    with pytest.raises(ValueError, match=r"^weights: tensor 'backbone\.new' must be there"):
        parts.tensors(lambda: layout(tiny() | {"backbone.new": zeros(2)}))
