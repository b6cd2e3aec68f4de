"""Pretrained backbones from files in torchvision's and timm's layout, and which stream takes which.

The files have the real names of every tensor, heads included, and the real shapes but of the heads.
"""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from bilinear.models import plans
from bilinear.models.imports import read_import
from bilinear.models.weights import backbone_tensors, stream_weights

from .test_state_dict import PLACEHOLDERS

COUNTERS = [
    name.replace("running_mean", "num_batches_tracked")
    for name in plans.tensor_shapes("resnet18")
    if name.endswith("running_mean")
]
HEADS = {
    ("resnet18", "torchvision"): ("fc",),
    ("resnet18", "timm"): ("fc",),
    ("vgg16", "torchvision"): ("classifier.0", "classifier.3", "classifier.6"),
    ("inception_v3", "torchvision"): ("AuxLogits.conv0.conv", "AuxLogits.fc", "fc"),
    ("vgg16", "timm"): ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
}


def numbered(backbone):
    """Every tensor of a backbone filled with its index in the list."""
    shapes = plans.tensor_shapes(backbone)
    return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(shapes.items())}


def rest(backbone, source):
    """The other tensors of a published file; NaN in a head would be refused if it were read."""
    nan = np.full(2, np.nan, np.float32)
    heads = {f"{name}.{p}": nan for name in HEADS[backbone, source] for p in ("weight", "bias")}
    counted = COUNTERS if (backbone, source) == ("resnet18", "torchvision") else ()
    return heads | {name: np.array(7) for name in counted}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    paths = {named: folder / f"{'.'.join(named)}.safetensors" for named in HEADS}
    for (backbone, source), path in paths.items():
        save_file(numbered(backbone) | rest(backbone, source), path)
    return paths


def packed(changes):
    """A whole ResNet18 of zeros in float16, changed: {name: array, or None to leave it out}."""
    shapes = plans.tensor_shapes("resnet18")
    tensors = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()} | changes
    return {name: array for name, array in tensors.items() if array is not None}


# --- files ---


@pytest.mark.parametrize("named", HEADS, ids="-".join)
def test_published_files_give_the_backbone_alone(files, named):
    backbone, _ = named
    tensors = backbone_tensors(backbone, files[named])
    expected = numbered(backbone)
    assert list(tensors) == list(expected)
    for name, array in tensors.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected[name])


def test_dtypes_are_kept(tmp_path):
    shapes = plans.tensor_shapes("vgg16")
    zeros = {name: np.zeros(shape, ml_dtypes.bfloat16) for name, shape in shapes.items()}
    save_file(zeros, tmp_path / "a.SafeTensors")
    tensors = backbone_tensors("vgg16", str(tmp_path / "a.SafeTensors"))
    assert {array.dtype for array in tensors.values()} == {np.dtype(ml_dtypes.bfloat16)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer1.0.bn1.bias": None}, r"'layer1\.0\.bn1\.bias' must be there"),
        ({"layer5.bias": np.zeros(1)}, r"'layer5\.bias' must not be there.*not resnet18"),
        ({"bn1.bias": np.zeros(65, np.float16)}, r"must be float16 \(64,\); got float16 \(65,\)"),
        ({"bn1.bias": np.zeros(64, np.int32)}, "'bn1.bias' must be of a real floating type; got"),
        ({"bn1.bias": np.full(64, np.nan, "f")}, r"'bn1\.bias' must be finite; got nan at \(0,\)"),
        ({"bn1.bias": np.full(64, np.inf, "f")}, r"'bn1\.bias' must be finite; got inf"),
    ],
)
def test_wrong_tensors_are_named_with_their_file(tmp_path, changes, words):
    path = tmp_path / "wrong.safetensors"
    save_file(packed(changes), path)
    with pytest.raises(ValueError, match=words) as caught:
        backbone_tensors("resnet18", path)
    assert str(caught.value).startswith(f"weights {path}: ")


def test_files_of_other_networks_and_parts_of_files_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"'conv1\.weight' must be there.*not resnet18"):
        backbone_tensors("resnet18", files["vgg16", "timm"])
    path = tmp_path / "cut.safetensors"
    path.write_bytes(files["resnet18", "timm"].read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match=r"cut\.safetensors: the file must be a complete"):
        backbone_tensors("resnet18", path)
    save_file({"backbone.conv1.weight": np.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"open it with load\(path\)"):
        backbone_tensors("resnet18", path)


def test_pth_is_read_where_it_can_be(tmp_path):
    path = tmp_path / "resnet18.pth"
    path.write_bytes(b"not read here")

    def fail(_):
        raise RuntimeError("invalid magic number\nand much more")

    counted = packed({"bn1.num_batches_tracked": np.array(3), "fc.bias": np.full(1, np.nan)})
    tensors = backbone_tensors("resnet18", path, read_pth=lambda _: counted)
    assert list(tensors) == list(plans.tensor_shapes("resnet18"))
    broken = packed({"bn1.bias": np.full(64, np.nan, np.float16)})
    for words, read in (
        (r"bilinear\.torch.*BCNN\(\.\.\., weights=path", None),
        (r"must be one that torch\.load.*RuntimeError: invalid magic number\. It", fail),
        (r"tensor 'bn1\.bias' must be finite", lambda _: broken),
        (r"tensor 'conv1\.weight' must be there", lambda _: {"state_dict": {}, "epoch": 3}),
    ):
        with pytest.raises(ValueError, match=rf"resnet18\.pth: .*{words}"):
            backbone_tensors("resnet18", path, read_pth=read)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".h5"])
def test_what_stands_in_place_of_a_file(tmp_path, suffix):
    if suffix == ".h5":
        pytest.importorskip("h5py")
    path = tmp_path / f"vgg16{suffix}"
    readers = [lambda: backbone_tensors("vgg16", path, read_pth=pytest.fail)]
    if suffix != ".h5":
        readers.append(lambda: read_import(path, "haomood", read_pth=pytest.fail))
    for read in readers:
        for received, content in PLACEHOLDERS.items():
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"{path}: .* of a model; got {received}\."):
                read()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(OSError, match=f"{path}: the path must name a regular file; got a FIFO"):
            read()
        path.unlink()


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ("imagenet1k", ValueError, "must be 'imagenet' or the path of a .safetensors"),
        ("nowhere.safetensors", FileNotFoundError, "'nowhere.safetensors', which does not exist"),
        (Path("nowhere.pth"), FileNotFoundError, "which does not exist"),
        (__file__, ValueError, "Rename it with the suffix"),
    ],
)
def test_weights_that_are_neither_name_nor_file(given, kind, words):
    with pytest.raises(kind, match=words):
        backbone_tensors("resnet18", given)


# --- which stream takes what ---


@pytest.mark.parametrize(
    ("given", "streams", "expected"),
    [
        (None, ("vgg16", None), (None, None)),
        ("a.pth", ("vgg16", None), ("a.pth", None)),
        ("a.pth", ("vgg16", "vgg16"), ("a.pth", "a.pth")),
        (Path("a.pth"), ("vgg16", "vgg16"), (Path("a.pth"), Path("a.pth"))),
        ("imagenet", ("vgg16", "resnet18"), ("imagenet", "imagenet")),
        (("a.pth", "b.pth"), ("vgg16", "resnet18"), ("a.pth", "b.pth")),
        (["a.pth", None], ("vgg16", "vgg16"), ("a.pth", None)),
        (("imagenet", None), ("vgg16", object()), ("imagenet", None)),
        ("imagenet", (None, "resnet18"), (None, "imagenet")),
        ((None, None), (None, None), (None, None)),
    ],
)
def test_stream_weights(given, streams, expected):
    assert stream_weights(given, *streams) == expected


@pytest.mark.parametrize(
    ("given", "streams", "words"),
    [
        ("a.pth", ("vgg16", "resnet18"), "must fit both streams; got 'a.pth' for 'vgg16' and"),
        (("a.pth",) * 3, ("vgg16", "vgg16"), "one value or a pair; got 3 values"),
        (("a.pth", "b.pth"), ("vgg16", None), "weights must be for a named backbone"),
        ("imagenet", (object(), None), "weights must be for a named backbone"),
        (("imagenet", None), (object(), "vgg16"), "Load the weights of a custom module"),
    ],
)
def test_stream_weights_that_fit_no_stream(given, streams, words):
    with pytest.raises(ValueError, match=words):
        stream_weights(given, *streams)
