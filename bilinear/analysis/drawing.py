"""Drawing of heat maps over images, with Pillow."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..contract import refuse

FOR_COLOR = np.array([203, 24, 29], np.float32)
AGAINST_COLOR = np.array([33, 102, 172], np.float32)
STRENGTH = 0.8
"""Opacity of the largest value of a heat map."""

_LINE = 1.35
"""Height of a line of text, relative to the font size."""


def overlay_heat(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """Draw a heat map over a gray copy of an image: red for positive values, blue for negative.

    ``pixel = (1 − a) · gray + a · color`` with ``a = 0.8 · |heat| / max |heat|``. The map is
    enlarged bilinearly to the size of the image, with half-pixel centers. Each location is drawn as
    one cell of the image, but the receptive field of a location in a deep network is larger.

    Args:
        image: an image of any size.
        heat: the heat map, (h, w).

    Returns: an RGB image of the size of `image`.
    Raises: ValueError if heat is not a finite matrix.
    """
    heat = np.asarray(heat, np.float64)
    if heat.ndim != 2 or heat.size == 0 or not np.isfinite(heat).all():
        remedy = "Pass the heat map of one image, without NaN or infinity."
        invariant = "heat must be a finite (h, w) array"
        refuse(ValueError, "overlay_heat", invariant, f"shape {heat.shape}", remedy)
    scale = np.abs(heat).max() or 1.0
    small = Image.fromarray((heat / scale).astype(np.float32))
    strength = np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))
    gray = np.asarray(image.convert("L"), np.float32)[..., None]
    return _blend(gray, strength)


def side_by_side(image: Image.Image, heat: np.ndarray, height: int = 448) -> Image.Image:
    """Draw the image, and beside it the image with the heat map.

    A smaller image is enlarged bilinearly to `height` pixels, a larger one keeps its size.

    Args:
        image: an image of any size.
        heat: the heat map, (h, w).
        height: smallest height of the result. Default: 448.

    Returns: an RGB image.
    Raises: as `overlay_heat`.
    """
    scale = max(height / image.height, 1.0)
    size = round(image.width * scale), round(image.height * scale)
    image = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    gap = max(size[1] // 56, 1)
    drawn = Image.new("RGB", (2 * size[0] + gap, size[1]), "white")
    drawn.paste(image, (0, 0))
    drawn.paste(overlay_heat(image, heat), (size[0] + gap, 0))
    return drawn


def _blend(gray: np.ndarray, strength: np.ndarray) -> Image.Image:
    """Blend gray with the color of the sign of `strength`; its magnitude sets the opacity."""
    alpha = STRENGTH * np.abs(strength)[..., None]
    color = np.where(strength[..., None] > 0, FOR_COLOR, AGAINST_COLOR)
    pixels = (1 - alpha) * gray + alpha * color
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


def add_legend(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Add a white strip with lines of text and a color scale below an image.

    The font size is 1/22 of the image width, at most 24 pixels, or smaller if a line does not fit,
    but at least 8 pixels. If a line is still too long, the result is wider than the image.
    """
    size = max(8, min(image.width // 22, 24))
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
