"""Invalid descriptions are neither written nor read."""

import json

import pytest
from safetensors.numpy import save_file

from bilinear.models import checkpoint
from bilinear.models.description import Custom

from .test_checkpoint import POOL, describe, refused, tiny


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


DESCRIPTIONS = [
    ({"backbone": "vgg19"}, "a stream must be"),
    ({"backbone": Custom("", "torch", 2)}, "a stream must be"),
    ({"backbone": Custom("net", "torch", 0)}, "a stream must be"),
    ({"num_classes": 0}, "num_classes must be a positive integer; got 0"),
    ({"num_classes": True}, "num_classes must be"),
    ({"descriptor_size": 4.0}, "descriptor_size must be a positive"),
    ({"descriptor_size": 5}, "descriptor_size must be 4; got 5"),
    ({"pooling": {"reduction": "mean"}}, "pooling must have a name"),
    ({"pooling": POOL | {"eps": [1]}}, "eps of BilinearPool must be 0 or a normal"),
    ({"classes": ("a", "b")}, "classes must be 3 different names"),
    ({"classes": ("a", "b", "a")}, "classes must be 3 different names"),
    ({"classes": ("a", "b", 3)}, "classes must be a tuple of names"),
    ({"dtype": "int8"}, "dtype must be one of"),
]


@pytest.mark.parametrize(("changes", "words"), DESCRIPTIONS)
def test_invalid_description_is_neither_written_nor_read(path, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        checkpoint.write(path, describe(**changes), tiny())
    assert str(caught.value).startswith(f"save {path}: ")
    assert not path.exists()
    save_file(tiny(), path, {"bilinear": describe(**changes).to_json()})
    refused(path, words)


def test_a_description_holds_no_nan(path):
    with pytest.raises(ValueError, match="pooling must have a name, and finite"):
        checkpoint.write(path, describe(pooling=POOL | {"eps": float("nan")}), tiny())
    with pytest.raises(ValueError, match="not JSON compliant"):
        describe(pooling=POOL | {"eps": float("nan")}).to_json()


def rewrite(path, **changes):
    data = json.loads(describe().to_json()) | changes
    save_file(tiny(), path, {"bilinear": json.dumps(data)})


def test_newer_version_is_refused_with_a_remedy(path):
    rewrite(path, format_version=4, library_version="9.1", new_field=[])
    refused(
        path, r"reads format versions up to 3; got version 4, written by bilinear 9\.1\. Upgrade"
    )
    with pytest.raises(ValueError, match="version 4"):
        checkpoint.read_description(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "onnx"}, "must be of format bilinear-bcnn; got 'onnx'"),
        ({"format_version": "1"}, "must have exactly its fields"),
        ({"format_version": 0}, "must have exactly its fields"),
        ({"surprise": 1}, r"missing or unknown: \['surprise'\]"),
        ({"backbone": {"custom": "net"}}, "a stream must be"),
        ({"preprocessing": {"size": 4}}, "its preprocessing must be valid"),
        ({"preprocessing": 4}, "its preprocessing must be valid"),
        ({"classes": "abc"}, "classes must be a tuple of names"),
        ({"library_version": 1}, "library_version must be text"),
    ],
)
def test_a_wrong_description_is_refused(path, changes, words):
    rewrite(path, **changes)
    refused(path, words)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": NaN}', "[" * 100_000, '{"a": ' + "9" * 10_000 + "}"]
)
def test_a_description_that_is_not_json_is_refused(path, text):
    save_file(tiny(), path, {"bilinear": text})
    refused(path, "its description must be")


def test_infinity_in_json_is_refused(path):
    text = describe().to_json().replace('"eps":1e-10', '"eps":1e999')
    assert "1e999" in text
    save_file(tiny(), path, {"bilinear": text})
    refused(path, "pooling must have a name, and finite")
