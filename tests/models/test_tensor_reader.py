"""Headers of safetensors files, and files that change while they are read."""

import json
import os

import pytest

from bilinear.models import checkpoint
from bilinear.models.tensorfile import open_tensors

from .test_checkpoint import describe, layout, refused, tiny


def entry(dtype, shape, offsets):
    """The header of a safetensors file with one tensor, as text."""
    return f'{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}'


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("[" * 100_000, "."),
        ('{"a": ' * 100_000, "."),
        ("[]", "a header that is not a JSON object"),
        ('{"__metadata__": {"bilinear": 1}}', "metadata that are not texts"),
        ('{"a": {"dtype": "F32"}}', "without dtype, shape and data_offsets"),
        ('{"a": {}, "a": {}}', "two entries of one name"),
        (entry("F32", "[2]", "[0, 4]"), r"4 bytes for 'a', F32 of shape \[2\]"),
        (entry("F32", "[-1]", "[0, 4]"), "an invalid dtype or shape"),
        (entry("F32", "[Infinity]", "[0, 4]"), "an invalid dtype or shape"),
        (entry("F32", "[1]", "[0, 1e999]"), "invalid data_offsets"),
        (entry("F32", "[1]", "[4, 8]"), "a gap at byte 0"),
        (entry("F32", "[9007199254740993]", "[0, 36028797018963972]"), "4 bytes of data in"),
    ],
)
def test_a_damaged_header_is_refused(path, header, words):
    data = header.encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(4))
    refused(path, f"must be a complete safetensors file; got .*{words}")


@pytest.mark.parametrize(("dtype", "shape", "size"), [("F8_E4M3", [2], 2), ("F4", [4], 2)])
def test_tensors_that_numpy_does_not_have_are_named(path, dtype, shape, size):
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    header["__metadata__"] = {"bilinear": describe().to_json()}
    data = json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(size))
    with open_tensors(path, "load it") as file:
        assert file.specs()["a"].shape == tuple(shape)
        with pytest.raises(ValueError, match=f"load it: tensor 'a' .* that NumPy has; got {dtype}"):
            file.get_tensor("a")
    refused(path, "'classifier.weight' must be there")


def read_while_rewritten(path, content):
    with checkpoint.open_portable(path) as file:
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))  # also where the clock of the file system has not moved
        file.read(layout(tiny()))


def test_a_file_that_is_rewritten_in_place_is_refused(saved):
    content = saved.read_bytes()
    for rewritten in content[:-8], bytes(8) + content[8:]:  # a mapped reader would die of the first
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=f"^load {saved}: the file must stay unchanged"):
            read_while_rewritten(saved, rewritten)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_special_files_are_refused(path):
    os.mkfifo(path)
    with pytest.raises(OSError, match=f"{path}: the path must name a regular file; got a FIFO"):
        checkpoint.read(path)
