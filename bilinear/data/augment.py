"""Data augmentation: pure functions of a Pillow image and a NumPy random generator."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageEnhance

from ..contract import check_argument, refuse
from ..contract.arguments import COUNT, number_to
from .images import Preprocessing, center_crop, cover

Crop = Literal["random", "center", "resized"]

TRIES = 10
"""Rectangles that are drawn until one fits into the image."""
LARGEST = {"rotation": 180.0, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
LARGEST |= {"erasing": 1.0}
"""The largest value of each strength; 0 leaves the image as it is."""
ENHANCEMENTS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}
ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 10 / 3)
"""Area, as a fraction of the image, and width / height of erased rectangles: Zhong et al. 2020."""


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images, applied before normalization; plain data.

    The crop has the size of the model's `Preprocessing`.

    Args:
        crop: how the crop is taken.

            - ``"random"`` (default): the shorter side is resized to `resize`, then a crop is taken
              at a random position.
            - ``"center"``: the same, but the crop is taken from the center.
            - ``"resized"``: a rectangle of random area and aspect ratio is resized to the crop.
        resize: pixels, at least the crop size. Default: that of `Preprocessing`. The published
            recipes use 512 with ``square=True`` for Aircraft and 448 without it for CUB.
        square: resize both sides, which changes the aspect ratio. Default: that of
            `Preprocessing`. `resize` and `square` are not allowed with ``crop="resized"``.
        flip: mirror the image horizontally with probability 1/2. Default True.
        scale: range of the area for ``crop="resized"``, as a fraction of the image in (0, 1].
        ratio: range of the aspect ratio width / height for ``crop="resized"``, positive.
        rotation: the crop is rotated by an angle in [-rotation, rotation], in degrees, at most 180.
            Default 0. The corners get the mean of `Preprocessing`.
        brightness, contrast, saturation: a factor in [1 - x, 1 + x], x at most 1. Default 0.
        hue: a shift of the hue in [-hue, hue], at most 0.5, where 1 is the whole circle. Default 0.
        erasing: probability with which a random rectangle gets the mean of `Preprocessing`.
            Default 0.

    Raises: ValueError or TypeError for invalid values.
    """

    crop: Crop = "random"
    resize: int | None = None
    square: bool = False
    flip: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether the augmentation is random."""
        return self.crop != "center" or self.flip or any(getattr(self, name) for name in LARGEST)

    def __post_init__(self):
        if self.crop not in get_args(Crop):
            invariant = f"crop must be one of {', '.join(get_args(Crop))}"
            remedy = "The default is 'random'."
            refuse(ValueError, "Augmentation", invariant, repr(self.crop), remedy)
        if self.resize is not None:
            check_argument("Augmentation", "resize", self.resize, COUNT)
        if self.crop == "resized" and (self.resize or self.square):
            received = f"resize {self.resize} and square {self.square}"
            invariant = "crop='resized' allows neither resize nor square"
            refuse(ValueError, "Augmentation", invariant, received, "Leave them out.")
        _check_range("scale", self.scale, 1.0)
        _check_range("ratio", self.ratio, math.inf)
        for name, largest in LARGEST.items():
            kind = number_to(largest, "0 turns it off.")
            check_argument("Augmentation", name, getattr(self, name), kind)


def _check_range(name: str, bounds: object, largest: float) -> None:
    listed = list(bounds) if isinstance(bounds, (tuple, list)) else []
    real = [float(x) for x in listed if isinstance(x, numbers.Real) and math.isfinite(x)]
    if not (len(listed) == len(real) == 2 and 0 < real[0] <= real[1] <= largest):
        limit = f" and at most {largest:g}" if math.isfinite(largest) else ""
        invariant = f"{name} must be two numbers in ascending order, above 0{limit}"
        remedy = "Pass the lower and the upper bound of the range."
        refuse(ValueError, "Augmentation", invariant, repr(bounds), remedy)


def with_resize(preprocessing: Preprocessing, augmentation: Augmentation) -> Preprocessing:
    """Return `preprocessing` with the `resize` and `square` that are set. Raises: ValueError."""
    resize = augmentation.resize or preprocessing.resize
    square = augmentation.square or preprocessing.square
    return replace(preprocessing, resize=resize, square=square)


def augment(
    image: Image.Image,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
    name: str,
) -> Image.Image:
    """Return one augmented version of an image, in the size of `preprocessing`.

    The order is crop, flip, rotation, brightness, contrast, saturation, hue, erasing.

    Raises: as `cover`.
    """
    rows, columns = preprocessing.shape
    mean = preprocessing.mean if preprocessing.channels == 3 else 3 * preprocessing.mean[:1]
    red, green, blue = (round(255 * value) for value in mean)
    if augmentation.crop == "resized":
        scale, ratio = augmentation.scale, augmentation.ratio
        image = random_resized_crop(image, (rows, columns), rng, scale, ratio)
    else:
        image = cover(image, with_resize(preprocessing, augmentation), name)
        if augmentation.crop == "random":
            image = random_crop(image, (rows, columns), rng)
        else:
            image = center_crop(image, (rows, columns))
    if augmentation.flip:
        image = random_flip(image, rng)
    if augmentation.rotation:
        angle = rng.uniform(-augmentation.rotation, augmentation.rotation)
        image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(red, green, blue))
    image = random_colors(image, augmentation, rng)
    if augmentation.erasing and rng.random() < augmentation.erasing:
        image = random_erasing(image, rng, (red, green, blue))
    return image


def random_crop(
    image: Image.Image, shape: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Take a crop of `shape` (rows, columns) at a position drawn uniformly."""
    return image.crop(_random_box(image, shape, rng))


def _random_box(
    image: Image.Image, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a rectangle of `shape` at a position drawn uniformly."""
    rows, columns = shape
    top = int(rng.integers(image.height - rows, endpoint=True))
    left = int(rng.integers(image.width - columns, endpoint=True))
    return left, top, left + columns, top + rows


def random_flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror the image horizontally with probability 1/2."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def random_colors(
    image: Image.Image, augmentation: Augmentation, rng: np.random.Generator
) -> Image.Image:
    """Change brightness, contrast, saturation and hue, with Pillow's formulas."""
    for name, enhance in ENHANCEMENTS.items():
        if strength := getattr(augmentation, name):
            image = enhance(image).enhance(rng.uniform(1 - strength, 1 + strength))
    if augmentation.hue:
        hue, *others = image.convert("HSV").split()
        shift = round(256 * rng.uniform(-augmentation.hue, augmentation.hue))
        hue = hue.point([(value + shift) % 256 for value in range(256)])
        image = Image.merge("HSV", (hue, *others)).convert("RGB")
    return image


def random_erasing(
    image: Image.Image, rng: np.random.Generator, color: tuple[int, int, int]
) -> Image.Image:
    """Fill a random rectangle, as in torchvision; no rectangle if none of `TRIES` fits."""
    if shape := _random_shape(image, rng, ERASED_AREA, ERASED_RATIO):
        image = image.copy()
        image.paste(color, _random_box(image, shape, rng))
    return image


def random_resized_crop(
    image: Image.Image,
    shape: tuple[int, int],
    rng: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Image.Image:
    """Resize a rectangle of random area, aspect ratio and position to `shape`, as in torchvision.

    The area, as a fraction of the image, is uniform in `scale`. The logarithm of width / height is
    uniform in the logarithm of `ratio`. If none of `TRIES` rectangles fits into the image, the
    central rectangle with the nearest aspect ratio in `ratio` is taken.
    """
    if rectangle := _random_shape(image, rng, scale, ratio):
        crop = random_crop(image, rectangle, rng)
    else:
        rows = min(image.height, max(1, round(image.width / ratio[0])))
        columns = min(image.width, max(1, round(image.height * ratio[1])))
        crop = center_crop(image, (rows, columns))
    return crop.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)


def _random_shape(
    image: Image.Image,
    rng: np.random.Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int] | None:
    """Rows and columns of a rectangle that fits into the image; None after `TRIES` that do not."""
    width, height = image.size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            return rows, columns
    return None
