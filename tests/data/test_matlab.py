"""MATLAB files of annotations, and files that end the process or take its memory in SciPy."""

import struct
import zlib

import numpy as np
import pytest

from bilinear.data import matlab

CELL, STRUCT, CHAR, DOUBLE, SPARSE = 1, 2, 4, 6, 5
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")


def element(kind, data, padded=True):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8 if padded else 0)


def matrix(kind, shape, *elements, name=b"", length=None):
    """An array; `length` replaces the number of bytes in its header."""
    parts = (
        element(6, struct.pack("<II", kind, 0)),
        element(5, struct.pack(f"<{len(shape)}i", *shape)),
    )
    data = b"".join((*parts, element(1, name), *elements))
    return struct.pack("<II", 14, len(data) if length is None else length) + data


def nested(depth, name=b"x"):
    """`depth` nested arrays."""
    found = matrix(DOUBLE, (1, 1), element(9, struct.pack("<d", 7)))
    for level in range(depth - 1):
        found = matrix(CELL, (1, 1), found, name=name if level == depth - 2 else b"")
    return found


def stated_short(depth):
    """Nested cells, each of which states that it ends before the next one begins."""
    shell = matrix(CELL, (1, 1))
    inside = shell * depth + nested(1)
    return matrix(CELL, (1, depth + 1), inside, name=b"x")


def hidden(depth):
    """Nested cells behind the elements of a numeric array, within its stated length."""
    plain = matrix(DOUBLE, (0, 0), element(9, b""), nested(depth, b""))
    return matrix(CELL, (1, 2), plain, nested(1), name=b"x")


BAD = {
    "deep": (nested(1000), "more than 8 nested arrays"),
    "compressed": (element(15, zlib.compress(nested(1000)), padded=False), "more than 8 nested"),
    "ends early": (stated_short(1000), "0 elements in an array of 1"),
    "hidden": (hidden(1000), "unpack"),
    "large": (matrix(CELL, (2**15, 2**15), name=b"x"), "0 elements in an array of 1073741824"),
    "text": (matrix(CHAR, (1, 2**29), element(16, b""), name=b"x"), "no cell or struct array x"),
    "negative": (matrix(CELL, (-1, -1), nested(1, b""), name=b"x"), "of class 1 and shape"),
    "many axes": (matrix(CELL, [2**31 - 1] * 10**5, name=b"x"), "of class 1 and shape"),
    "fields": (
        matrix(
            STRUCT,
            (1, 2),
            element(5, struct.pack("<i", 1)),
            element(1, b"a"),
            nested(1, b""),
            name=b"x",
        ),
        "1 elements in an array of 2",
    ),
    "sparse": (matrix(CELL, (1, 1), matrix(SPARSE, (1, 1), element(5, b"")), name=b"x"), "class 5"),
    "type": (matrix(CELL, (1, 1), matrix(DOUBLE, (1, 1), element(99, b"")), name=b"x"), "type 99"),
    "bomb": (element(15, zlib.compress(bytes(2**26)), padded=False), "more than 16,777,216 bytes"),
    "cut": (nested(2)[:-8], "a truncated element"),
    "short": (matrix(CELL, (1, 1), name=b"x", length=0), "truncated|in place of an array"),
}


@pytest.mark.parametrize("case", BAD)
def test_dangerous_files_are_refused(tmp_path, case):
    content, words = BAD[case]
    file = tmp_path / "cars_annos.mat"
    file.write_bytes(HEADER + content)
    with pytest.raises(ValueError, match=r"cars_annos\.mat must be the annotation file") as caught:
        matlab.read_variable("Cars", file, "x")
    assert caught.match(words)


def test_files_of_other_versions_are_refused(tmp_path):
    file = tmp_path / "a.mat"
    file.write_bytes(struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + bytes(200))
    with pytest.raises(ValueError, match="no header of a MATLAB 5 file"):
        matlab.read_variable("Cars", file, "x")


@pytest.mark.parametrize("compressed", [False, True])
def test_the_arrays_that_scipy_writes_are_read(tmp_path, compressed):
    savemat = pytest.importorskip("scipy.io", reason="SciPy is absent").savemat
    file = tmp_path / "a.mat"
    cells = np.array([["öne", np.arange(3.0)], ["", np.zeros((0, 2), "i2")]], dtype=object)
    records = np.array([[(1, "a"), (2.5, "bc")]], dtype=[("number", object), ("text", object)])
    savemat(file, {"y": 1, "cells": cells, "records": records}, do_compression=compressed)
    first, second, third, fourth = matlab.read_variable("Cars", file, "cells")  # by columns
    assert (first, third.tolist(), fourth.tolist()) == ("öne", [0, 1, 2], [])
    assert len(second) == 0
    found = matlab.read_variable("Cars", file, "records")
    assert [(one["number"].tolist(), one["text"]) for one in found] == [([1], "a"), ([2.5], "bc")]
    for name in ("y", "z"):
        with pytest.raises(ValueError, match=f"no cell or struct array {name}"):
            matlab.read_variable("Cars", file, name)


def test_arrays_of_the_largest_depth_are_read(tmp_path):
    file = tmp_path / "a.mat"
    file.write_bytes(HEADER + nested(matlab.MAX_DEPTH))
    found = matlab.read_variable("Cars", file, "x")
    for _ in range(matlab.MAX_DEPTH - 1):
        (found,) = found
    assert found == 7
