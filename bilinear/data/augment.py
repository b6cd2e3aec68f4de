"""Random views of an image: pure functions of a Pillow image and a NumPy generator."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ..contract import refuse
from ..contract._counts import check_count
from .images import Preprocessing, centre_crop, cover

Crop = Literal["random", "centre", "resized"]

TRIES = 10
"""Rectangles drawn by `random_resized_crop` before it takes the largest in the middle."""


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied before it is normalised; plain data.

    The crop has the size of the model's `Preprocessing`:

    - ``crop="random"``: the shorter side is resized to `resize` (None: as `Preprocessing` has
      it), and a crop is cut from anywhere. ``square=True``, here or there, resizes both sides
      instead, whatever the aspect: 512 and square is the published recipe of Aircraft, 448 that
      of CUB without.
    - ``crop="centre"``: the same, cut from the middle; nothing of it is random.
    - ``crop="resized"``: a rectangle of a random area (a share of the image in `scale`) and
      aspect (width / height in `ratio`), resized to the crop. `resize` and `square` do not apply.

    Then the image is mirrored in half of the cases, if `flip`.

    Raises: ValueError or TypeError for values outside these.
    """

    crop: Crop = "random"
    resize: int | None = None
    square: bool = False
    flip: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    @property
    def varies(self) -> bool:
        """Whether anything of it is random."""
        return self.crop != "centre" or self.flip

    def __post_init__(self):
        if self.crop not in get_args(Crop):
            invariant = f"crop must be one of {', '.join(get_args(Crop))}"
            refuse(ValueError, "Augmentation", invariant, repr(self.crop), "The default is random.")
        if self.resize is not None:
            check_count("Augmentation", "resize", self.resize)
        if self.crop == "resized" and (self.resize or self.square):
            received = f"resize {self.resize} and square {self.square}"
            invariant = "a resized crop is of the whole image"
            refuse(ValueError, "Augmentation", invariant, received, "Leave both out.")
        _check_range("scale", self.scale, 1.0)
        _check_range("ratio", self.ratio, math.inf)


def _check_range(name: str, bounds: object, most: float) -> None:
    listed = list(bounds) if isinstance(bounds, (tuple, list)) else []
    real = [float(x) for x in listed if isinstance(x, numbers.Real) and math.isfinite(x)]
    if not (len(listed) == len(real) == 2 and 0 < real[0] <= real[1] <= most):
        top = f" up to {most:g}" if math.isfinite(most) else ""
        invariant = f"{name} must be two numbers in order, above 0{top}"
        refuse(ValueError, "Augmentation", invariant, repr(bounds), "Give the bounds of the draw.")


def resized_by(augmentation: Augmentation, preprocessing: Preprocessing) -> Preprocessing:
    """`preprocessing` resized as `augmentation` says, where that says something.

    Raises: ValueError for a resize smaller than the crop.
    """
    resize = augmentation.resize or preprocessing.resize
    square = augmentation.square or preprocessing.square
    return replace(preprocessing, resize=resize, square=square)


def augmented(
    image: Image.Image,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
    name: str,
) -> Image.Image:
    """One view of an image, of the size that `preprocessing` has. Raises: what `cover` raises."""
    rows, columns = preprocessing.shape
    if augmentation.crop == "resized":
        scale, ratio = augmentation.scale, augmentation.ratio
        image = random_resized_crop(image, (rows, columns), rng, scale, ratio)
    else:
        image = cover(image, resized_by(augmentation, preprocessing), name)
        if augmentation.crop == "random":
            image = random_crop(image, (rows, columns), rng)
        else:
            image = centre_crop(image, (rows, columns))
    return random_flip(image, rng) if augmentation.flip else image


def random_crop(
    image: Image.Image, shape: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """`shape` rows and columns from anywhere in the image, every place equally likely."""
    rows, columns = shape
    top = int(rng.integers(image.height - rows, endpoint=True))
    left = int(rng.integers(image.width - columns, endpoint=True))
    return image.crop((left, top, left + columns, top + rows))


def random_flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image or, in half of the cases, its mirror image, left for right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def random_resized_crop(
    image: Image.Image,
    shape: tuple[int, int],
    rng: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Image.Image:
    """A rectangle of random area, aspect and place, resized to `shape` rows and columns.

    The area is uniform in `scale`, as a share of the image, the logarithm of width / height in
    that of `ratio`. If none of `TRIES` fits, it is the middle, with the aspect brought into
    `ratio`. Source: Szegedy et al. 2015, in torchvision's form.
    """
    width, height = image.size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            part = random_crop(image, (rows, columns), rng)
            break
    else:
        rows = min(height, max(1, round(width / ratio[0])))
        columns = min(width, max(1, round(height * ratio[1])))
        part = centre_crop(image, (rows, columns))
    return part.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
