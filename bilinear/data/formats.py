"""The image formats that are read, by content and by suffix."""

import os

from PIL import Image

FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "JPEG2000", "TIFF", "BMP", "DIB"),
    *("PPM", "PSD", "QOI", "SGI", "DDS", "PCX", "TGA"),
)
"""Pillow's names of the formats of photographs and textures that it decodes by itself.

Others are left out: EPS starts Ghostscript, WMF needs Windows, and the rest are icons, scientific
data or formats that Pillow only identifies. HEIF needs a plugin of Pillow, such as pillow-heif.
"""


def readable_formats() -> tuple[str, ...]:
    """Return the listed formats that this installation of Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def is_image(name: str) -> bool:
    """Return whether a file name has the suffix of a readable format."""
    return Image.registered_extensions().get(os.path.splitext(name)[1].lower()) in FORMATS
