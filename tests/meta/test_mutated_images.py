"""Mutated images and annotation files: each is read, or refused with an error that names it."""

import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, features

from bilinear.data import Item, open_dataset
from bilinear.data.decode import Decoder
from bilinear.data.images import Preprocessing

from .. import datasets

MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "P", "LA", "1", "I;16"),
    "GIF": ("P", "L"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "RGBA", "P", "CMYK", "I;16", "F", "1"),
    "BMP": ("RGB", "P", "1"),
    "PPM": ("RGB", "L", "1"),
    "TGA": ("RGB", "RGBA", "P"),
    "JPEG2000": ("RGB", "L"),
    "SGI": ("RGB", "L"),
    "DDS": ("RGB", "RGBA"),
    "PCX": ("RGB", "P", "1"),
}
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\xff\xff\0\0")
LIMIT = 5.0
"""Seconds for one file."""


def images() -> list[bytes]:
    """Valid images in every format and mode that this installation of Pillow writes."""
    gray = Image.effect_mandelbrot((64, 48), (-2, -1.5, 1, 1.5), 100)
    color = Image.merge("RGB", (gray, gray.rotate(90), gray.rotate(180)))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = []
    for kind, modes in MODES.items():
        if features.check({"WEBP": "webp", "JPEG2000": "jpg_2000"}.get(kind, "jpg")):
            for mode in modes:
                image = (gray if mode in ("I;16", "F") else color).convert(mode)
                image.save(file := io.BytesIO(), kind, exif=exif)
                stored.append(file.getvalue())
    for compression in ("tiff_lzw", "jpeg", "tiff_deflate"):
        color.save(file := io.BytesIO(), "TIFF", compression=compression)
        stored.append(file.getvalue())
    return stored


def mutate(rng: random.Random, content: bytes) -> bytes:
    """Change, remove or insert bytes in some places, half of them in the header."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(min(len(data), rng.choice((128, len(data)))))
        match rng.randrange(5):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data[place] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                data[place : place + 4] = rng.choice(WORDS)
            case 3:
                del data[place : place + rng.randrange(1, 64)]
            case 4:
                data[place:place] = rng.randbytes(rng.randrange(1, 16))
        data = data or bytearray(1)
    return bytes(data)


def is_read(call: Callable[[], object], name: str) -> bool:
    """Return whether a call succeeds; else its error must be a ValueError that names the file."""
    begun, message = time.perf_counter(), name
    try:
        call()
    except ValueError as error:
        message = str(error)
        return False
    finally:
        assert name in message
        assert time.perf_counter() - begun < LIMIT
    return True


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged files
@pytest.mark.parametrize("seed", range(4))
def test_mutated_images_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng, stored, file = random.Random(seed), images(), tmp_path / "mutated"
    decode = Decoder(tmp_path, Preprocessing(32), None, seed=0)
    read = 0
    for k in range(1000):
        file.write_bytes(mutate(rng, stored[k % len(stored)]))
        read += is_read(lambda: decode(Item("mutated", 0, "train"), 0, 0), f"{file}")
    assert 100 < read < 900


@pytest.mark.full
@pytest.mark.parametrize("kind", ["cub", "aircraft", "cars"])
def test_mutated_annotations_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    if kind == "cars":
        pytest.importorskip("scipy", reason="SciPy is absent")
    rng, read = random.Random(0), 0
    getattr(datasets, kind)(tmp_path)
    files = sorted(path for end in ("txt", "mat") for path in tmp_path.rglob(f"*.{end}"))
    options = {"check_counts": False, "boxes": True}
    for k in range(400):
        file = files[k % len(files)]
        content = file.read_bytes()
        file.write_bytes(mutate(rng, content))
        read += is_read(lambda: open_dataset(tmp_path, kind, **options), f"{tmp_path}")
        file.write_bytes(content)
    assert read < 300
