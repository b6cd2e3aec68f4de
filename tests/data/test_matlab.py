"""MATLAB files whose structure would end the process or take its memory in SciPy."""

import math
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy is absent")

from scipy.io import savemat

from bilinear.data import matlab

CELL, STRUCT, CHAR, DOUBLE, SPARSE = 1, 2, 4, 6, 5
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


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
    "compressed deep": (element(15, zlib.compress(nested(1000)))[:-7], "more than 8|truncated"),
    "ends early": (stated_short(1000), "0 elements in an array of 1"),
    "hidden": (hidden(1000), "an element of type 14 in an array of class 6"),
    "large": (matrix(CELL, (2**15, 2**15), name=b"x"), r"of shape \(32768, 32768\) in"),
    "text": (matrix(CHAR, (1, 2**29), element(16, b""), name=b"x"), "of shape"),
    "negative": (matrix(CELL, (-1, -1), nested(1), name=b"x"), "of shape"),
    "fields": (
        matrix(STRUCT, (1, 2), element(5, struct.pack("<i", 1)), element(1, b"a"), nested(1, b"")),
        "1 elements in an array of 2",
    ),
    "sparse": (matrix(SPARSE, (1, 1), name=b"x"), "an array of class 5"),
    "bomb": (element(15, zlib.compress(bytes(2**26))), "more than 16,777,216 bytes after"),
    "cut": (nested(2)[:-8], "truncated"),
    "short": (matrix(CELL, (1, 1), name=b"x", length=0), "error: unpack_from requires"),
}


@pytest.mark.parametrize("case", BAD)
def test_dangerous_files_are_refused_before_scipy_reads_them(tmp_path, case, monkeypatch):
    content, words = BAD[case]
    file = tmp_path / "cars_annos.mat"
    file.write_bytes(HEADER + content)
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.exit("SciPy was called"))
    with pytest.raises(ValueError, match=r"cars_annos\.mat must be the annotation file") as caught:
        matlab.read_variable("Cars", file, "x")
    assert caught.match(words)


def test_files_of_other_versions_are_refused(tmp_path):
    file = tmp_path / "a.mat"
    savemat(file, {"x": np.ones(3)}, format="4")
    with pytest.raises(ValueError, match="no header of a MATLAB 5 file"):
        matlab.read_variable("Cars", file, "x")


@pytest.mark.parametrize("compressed", [False, True])
def test_the_arrays_that_scipy_writes_are_read(tmp_path, compressed):
    file = tmp_path / "a.mat"
    cells = np.array([["one", np.arange(3.0)], [1j, np.zeros((0, 2))]], dtype=object)
    records = np.array([[(1, "a"), (2, "bc")]], dtype=[("number", object), ("text", object)])
    savemat(file, {"cells": cells, "records": records, "y": math.pi}, do_compression=compressed)
    found = matlab.read_variable("Cars", file, "cells")
    assert (found[0, 0], found[1, 0]) == ("one", 1j)
    assert [one["text"] for one in matlab.read_variable("Cars", file, "records")] == ["a", "bc"]
    assert matlab.read_variable("Cars", file, "y").tolist() == [math.pi]
    file.write_bytes(HEADER + nested(matlab.MAX_DEPTH))
    assert matlab.read_variable("Cars", file, "x").tolist() == [7]
