"""Reading of image files as upright 8-bit RGB images."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

import numpy as np
from PIL import Image, ImageFile

from .._files import open_regular, placeholder
from ..contract import check_argument, message, refuse
from ..contract.arguments import COUNT
from .formats import readable_formats

File = str | os.PathLike | BinaryIO

MAX_PIXELS = 89_478_485
"""Larger images are refused before decoding, unless `set_max_pixels` allows them. Pillow warns
about decompression bombs above it."""

_max_pixels = MAX_PIXELS
_BAND = 2**20
"""Pixels that are converted at once."""
_UPRIGHT = {  # EXIF orientation -> transposition that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = tuple(_UPRIGHT[k] for k in (5, 6, 7, 8))
_LAST_ROW_FIRST = tuple(_UPRIGHT[k] for k in (3, 4, 6, 7))
_ORIENTATION = 0x0112
_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def max_pixels() -> int:
    """Return the largest number of pixels of an image in this process."""
    return _max_pixels


def set_max_pixels(count: int) -> None:
    """Set the largest number of pixels of an image in this process, `MAX_PIXELS` by default.

    Decoding takes 4 bytes per pixel, or up to 8 for an image that is not RGB. If `count` is above
    Pillow's own limit, ``PIL.Image.MAX_IMAGE_PIXELS``, that limit is raised to it.

    Raises: ValueError or TypeError if `count` is not a positive integer.
    """
    global _max_pixels  # noqa: PLW0603 (as Pillow's own limit, one for the process)
    check_argument("set_max_pixels", "count", count, COUNT)
    _max_pixels = int(count)
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, _max_pixels)


def read_image(file: File, *, reserve: Callable[[int], object] | None = None) -> Image.Image:
    """Read an image from a path or a binary file object as an upright 8-bit RGB image.

    - EXIF orientation is applied. Only the first frame of an animation is read.
    - Transparent images are composited over white. The colors of transparent pixels are
      arbitrary, so dropping the alpha channel would show them.
    - 16-bit values are scaled by 1/257, not clipped. 32-bit integers are read as 16-bit values.
      Floating-point images are on the scale [0, 1], or [0, 255] if a value exceeds 1.
    - A JPEG file whose compressed data are damaged, but not truncated, is read as far as its
      decoder can: libjpeg does not report such damage as an error.

    Args:
        file: a path or a binary file object.
        reserve: called with the number of pixels before they are decoded. Default None.

    Raises: ValueError that names the file if it is not an image in one of the formats in
        `bilinear.data.formats`, is damaged, truncated or empty, has more than `max_pixels()`
        pixels (checked in its header, before decoding), or has values outside these scales;
        OSError if the path cannot be opened or is not a regular file; TypeError if `file` is
        neither a path nor a binary file object.
    """
    if isinstance(file, (str, os.PathLike)):
        with open_regular(file) as stream:
            return _read(stream, file_name(file), reserve)
    if not hasattr(file, "read"):
        received = f"{type(file).__module__}.{type(file).__qualname__}"
        invariant = "file must be a path or a binary file object"
        refuse(TypeError, "read_image", invariant, received, "Wrap encoded bytes in io.BytesIO.")
    return _read(file, file_name(file), reserve)


def file_name(file: File) -> str:
    """The name of a file in error messages."""
    if isinstance(file, (str, os.PathLike)):
        return os.fsdecode(file)
    return str(getattr(file, "name", f"the {type(file).__name__}"))


def _read(stream: BinaryIO, name: str, reserve: Callable[[int], object] | None) -> Image.Image:
    with _name_in_errors(name, stream):
        image = Image.open(stream, formats=readable_formats())
    with image:
        pixels = image.width * image.height
        if not 0 < pixels <= _max_pixels:
            _refuse_size(name, f"{image.width} × {image.height}")
        if reserve is not None:
            reserve(pixels)
        return _decode(image, name)


def _decode(image: ImageFile.ImageFile, name: str) -> Image.Image:
    with _name_in_errors(name):
        _scale_transparency(image)
        image.load()
        turn = _turn(image)
    largest = _largest_value(name, image) if image.mode.startswith(("I", "F")) else None
    with _name_in_errors(name):
        if turn is None and largest is None and not image.has_transparency_data:
            return image if image.mode == "RGB" else image.convert("RGB")
        width, height = image.size
        sideways = turn in _SIDEWAYS
        rgb = Image.new("RGB", (height, width) if sideways else image.size)
        for box in _bands(image):
            part = _convert(image.crop(box), largest)
            start = height - box[3] if turn in _LAST_ROW_FIRST else box[1]
            part = part if turn is None else part.transpose(turn)
            rgb.paste(part, (start, 0) if sideways else (0, start))
        return rgb


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of rows that together cover the image: converting all at once takes more memory."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


@contextmanager
def _name_in_errors(name: str, stream: BinaryIO | None = None) -> Iterator[None]:
    """Convert any error that Pillow raises to a ValueError that names the file."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _refuse_size(name, str(error))
    except Exception as error:  # decoders raise many types for damaged data
        invariant = f"{name} must be a complete image file that Pillow can read"
        remedy = "The file is damaged or not an image. Download or export it again."
        received = f"{type(error).__name__}: {error}"
        if stream is not None and _is_heic(stream):
            remedy = "HEIC needs the plugin pillow-heif: convert the image to JPEG, or register it."
        elif stream is not None:
            stream.seek(0)
            received, remedy = placeholder(stream) or (received, remedy)
        raise ValueError(message("read_image", invariant, received, remedy)) from error


def _is_heic(stream: BinaryIO) -> bool:
    stream.seek(0)
    start = stream.read(12)
    return start[4:8] == b"ftyp" and start[8:] in _HEIC


def _refuse_size(name: str, received: str) -> NoReturn:
    invariant = f"{name} must have between 1 and {_max_pixels:,} pixels"
    remedy = (
        "Reduce its size, or allow more (bilinear --max-pixels, or bilinear.data.set_max_pixels)."
    )
    refuse(ValueError, "read_image", invariant, received, remedy)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The transposition for the EXIF orientation; after `load`, as some formats store EXIF last."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF data does not affect the pixels
        return None


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """Convert the transparent color of a PNG from the depth of the file to that of its pixels."""
    color = image.info.get("transparency")
    depth = image.tile[0][3] if image.format == "PNG" and image.tile else None
    if isinstance(color, int) and depth in ("L;2", "L;4"):
        image.info["transparency"] = color * (85 if depth == "L;2" else 17)
    elif isinstance(color, tuple) and depth == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in color)


def _largest_value(name: str, image: Image.Image) -> float:
    """The value of white in an image with one channel of 16 or 32 bits; checks all values."""
    parts = (np.asarray(image.crop(box)) for box in _bands(image))
    limits = np.array([(part.min(), part.max()) for part in parts])  # NaN if any value is
    low, high = limits[:, 0].min(), limits[:, 1].max()
    largest, scale = (255, "[0, 255]") if image.mode == "F" else (65535, "[0, 65535]")
    if not (low >= 0 and high <= largest):
        remedy = "Export it with 8 or 16 bits per channel."
        invariant = f"values of {name} (mode {image.mode}) must be in {scale}"
        refuse(ValueError, "read_image", invariant, f"values from {low} to {high}", remedy)
    return 1 if image.mode == "F" and high <= 1 else largest


def _convert(part: Image.Image, largest: float | None) -> Image.Image:
    """Convert a part of an image to RGB; transparent pixels are composited over white."""
    if largest is None and not part.has_transparency_data:
        return part.convert("RGB")
    if largest is None:
        white = Image.new("RGBA", part.size, "white")
        return Image.alpha_composite(white, part.convert("RGBA")).convert("RGB")
    values = np.asarray(part)  # Pillow's own conversion would clip them
    if part.mode == "F":
        gray = np.rint(values * 255 if largest == 1 else values)
    else:
        gray = (values.astype(np.uint32) + 128) // 257
    if (clear := part.info.get("transparency")) is not None:
        gray[values == clear] = 255
    return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
