"""Heat over an image, with Pillow."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..contract import refuse

FOR = np.array([203, 24, 29], np.float32)
AGAINST = np.array([33, 102, 172], np.float32)
STRENGTH = 0.8
"""How much of the image the strongest heat covers; the rest is in proportion."""

_LINE = 1.35
"""Height of a line of text, in sizes of its font."""


def heat_over(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """The image in grey, red where heat is positive, blue where it is negative.

    ``pixel = (1 − a) · grey + a · colour`` with ``a = 0.8 · |heat| / max |heat|``: no heat shows
    the image itself. Heat is enlarged bilinearly to the image, half-pixel centres, as though each
    location saw its own cell of the image; the receptive fields of a deep network are larger.

    Shapes: heat (h, w), whatever the size of the image -> an RGB image of that size.
    Raises: ValueError for heat that is not a finite matrix.
    """
    heat = np.asarray(heat, np.float64)
    if heat.ndim != 2 or heat.size == 0 or not np.isfinite(heat).all():
        remedy = "Pass the heat of one image."
        refuse(ValueError, "heat_over", "heat must be a finite (h, w)", f"{heat.shape}", remedy)
    scale = np.abs(heat).max() or 1.0
    small = Image.fromarray((heat / scale).astype(np.float32))
    strength = np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    return _blend(grey, strength)


def _blend(grey: np.ndarray, strength: np.ndarray) -> Image.Image:
    """Grey under the colour of the strength's sign, as dense as its size."""
    alpha = STRENGTH * np.abs(strength)[..., None]
    colour = np.where(strength[..., None] > 0, FOR, AGAINST)
    pixels = (1 - alpha) * grey + alpha * colour
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


def with_legend(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """The image over a white strip with lines of text and the scale of the colours.

    Text is set as large as a line fits, from 1/22 of the image's width down to 8 pixels; below
    that the strip is wider than the image.
    """
    size = max(8, image.width // 22)
    while size > 8 and max(_width(line, size) for line in lines) > image.width - size:
        size -= 1
    width = max(image.width, size + math.ceil(max(_width(line, size) for line in lines)))
    line = round(size * _LINE)
    drawn = Image.new("RGB", (width, image.height + size + line * (len(lines) + 1)), "white")
    drawn.paste(image, (0, 0))
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(size)
    top = image.height + size // 2
    for text in lines:
        draw.text((size // 2, top), text, "black", font)
        top += line
    left, right = size + round(_width("against", size)), width - size - round(_width("for", size))
    draw.text((size // 2, top), "against", "black", font)
    draw.text((right + size // 2, top), "for", "black", font)
    if right > left:
        ramp = np.linspace(-1, 1, right - left, dtype=np.float32)
        white = np.full((size, right - left, 1), 255, np.float32)
        drawn.paste(_blend(white, np.tile(ramp, (size, 1))), (left, top))
    return drawn


def _width(text: str, size: int) -> float:
    return ImageFont.load_default(size).getlength(text)
