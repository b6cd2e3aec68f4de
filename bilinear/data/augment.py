"""Data augmentation: pure functions of a Pillow image and a NumPy random generator."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ..contract import check_argument, refuse
from ..contract.arguments import COUNT
from .images import Preprocessing, centre_crop, cover

Crop = Literal["random", "centre", "resized"]

TRIES = 10
"""Rectangles that `random_resized_crop` draws before it takes the central one."""


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images, applied before normalisation; plain data.

    The crop has the size of the model's `Preprocessing`.

    Args:
        crop: how the crop is taken.

            - ``"random"`` (default): the shorter side is resized to `resize`, then a crop is taken
              at a random position.
            - ``"centre"``: the same, but the crop is taken from the centre.
            - ``"resized"``: a rectangle of random area and aspect ratio is resized to the crop.
        resize: pixels, at least the crop size. Default: that of `Preprocessing`. The published
            recipes use 512 with ``square=True`` for Aircraft and 448 without it for CUB.
        square: resize both sides, which changes the aspect ratio. Default: that of
            `Preprocessing`. `resize` and `square` are not allowed with ``crop="resized"``.
        flip: mirror the image horizontally with probability 1/2. Default True.
        scale: range of the area for ``crop="resized"``, as a fraction of the image in (0, 1].
        ratio: range of the aspect ratio width / height for ``crop="resized"``, positive.

    Raises: ValueError or TypeError for invalid values.
    """

    crop: Crop = "random"
    resize: int | None = None
    square: bool = False
    flip: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    @property
    def varies(self) -> bool:
        """Whether the augmentation is random."""
        return self.crop != "centre" or self.flip

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

    Raises: as `cover`.
    """
    rows, columns = preprocessing.shape
    if augmentation.crop == "resized":
        scale, ratio = augmentation.scale, augmentation.ratio
        image = random_resized_crop(image, (rows, columns), rng, scale, ratio)
    else:
        image = cover(image, with_resize(preprocessing, augmentation), name)
        if augmentation.crop == "random":
            image = random_crop(image, (rows, columns), rng)
        else:
            image = centre_crop(image, (rows, columns))
    return random_flip(image, rng) if augmentation.flip else image


def random_crop(
    image: Image.Image, shape: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Take a crop of `shape` (rows, columns) at a position drawn uniformly."""
    rows, columns = shape
    top = int(rng.integers(image.height - rows, endpoint=True))
    left = int(rng.integers(image.width - columns, endpoint=True))
    return image.crop((left, top, left + columns, top + rows))


def random_flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror the image horizontally with probability 1/2."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


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
    width, height = image.size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            crop = random_crop(image, (rows, columns), rng)
            break
    else:
        rows = min(height, max(1, round(width / ratio[0])))
        columns = min(width, max(1, round(height * ratio[1])))
        crop = centre_crop(image, (rows, columns))
    return crop.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
