"""The header of ``.npy`` files, at a fixed length, so that it can be rewritten in place."""

import struct

import numpy as np

HEADER_BYTES = 256


def npy_header(shape: tuple[int, ...], dtype: np.dtype, comment: str = "") -> bytes:
    """The first `HEADER_BYTES` bytes of a version 1.0 file; the row-major data follow them.

    The header is a Python literal, so a comment after it is ignored by NumPy.
    """
    fields = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    fields += f"  # {comment}" if comment else ""
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER_BYTES - 10)
    return start + fields.encode().ljust(HEADER_BYTES - 11) + b"\n"
