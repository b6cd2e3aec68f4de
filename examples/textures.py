"""Textures cut from the photographs inside scikit-image, as labelled grey crops.

    crops = texture_crops("train", 64, seed=0)
    crops.images                                     # (classes · 64, 128, 128) uint8
    other_crops(64, seed=0)                          # of other photographs, to train on before

Each photograph is one class and is divided once into three rectangles that share no pixel:
training, validation (to choose learning rates by) and test. A crop is a rotated square whose
circumscribed circle lies inside its rectangle, so no crop sees a pixel of another split.

Then the light changes: a gamma, a gradient across the crop, and last a brightness and a contrast
that are drawn alike for every class and set exactly. Neither the mean nor the deviation of a crop
says anything of its class; what is left is the pattern.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates
from skimage import color, data, measure

from bilinear.data.images import Preprocessing

CROP = 128
"""Pixels along each side of a crop of the demo."""

BRIGHTNESS = (0.45, 0.55)
CONTRAST = (0.08, 0.14)
"""Bounds of the mean and the standard deviation of a crop, on the scale [0, 1]."""
LIMIT = 3.0
"""Deviations from the mean at which light saturates, so that every brightness can be set."""

PREPROCESSING = Preprocessing(size=CROP, mean=(0.5, 0.5, 0.5), std=(0.15, 0.15, 0.15))
"""How a crop, saved as an image, becomes a model's input; `normalized` does it for arrays."""

Split = Literal["train", "validation", "test"]


class Box(NamedTuple):
    """A rectangle of a photograph in whole pixels; bottom and right are excluded."""

    top: int
    left: int
    bottom: int
    right: int


class Light(NamedTuple):
    """How a crop is lit: the mean and the deviation are those of the result, set exactly."""

    gamma: float
    slope: float
    """Of the gradient, from the middle of the crop to the circle around it."""
    towards: float
    """The gradient's direction in radians."""
    mean: float
    deviation: float


class Crops(NamedTuple):
    """Grey crops (N, CROP, CROP) uint8, and the class of each as an index."""

    images: np.ndarray
    labels: np.ndarray


def _stars() -> np.ndarray:
    return data.hubble_deep_field()


def _retina() -> np.ndarray:
    """At half the resolution, without the black frame and the rim of the round field."""
    grey = _grey(data.retina())
    return measure.block_reduce(grey, 2, np.mean)[112:592, 110:590]


PHOTOGRAPHS = {
    "brick": data.brick,
    "grass": data.grass,
    "gravel": data.gravel,
    "moon": data.moon,
    "retina": _retina,
    "stars": _stars,
    "tissue": data.immunohistochemistry,
}
"""Class -> its photograph. All seven are in scikit-image's wheel; nothing is downloaded."""

CLASSES = tuple(PHOTOGRAPHS)

OTHER_PHOTOGRAPHS = {
    "astronaut": data.astronaut,
    "camera": data.camera,
    "cat": data.chelsea,
    "cell": data.cell,
    "clock": data.clock,
    "coffee": data.coffee,
    "coins": data.coins,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "page": data.page,
    "rocket": data.rocket,
}
"""The rest of the wheel's photographs that a crop fits into and that are not drawings."""


def photograph(name: str) -> np.ndarray:
    """The photograph of a class in grey: (H, W) float64 in [0, 1]."""
    return _grey((PHOTOGRAPHS | OTHER_PHOTOGRAPHS)[name]())


def radius(size: int) -> int:
    """Of the circle around a square of `size` pixels: those of it at any angle lie inside."""
    return math.ceil(size / math.sqrt(2))


def _grey(image: np.ndarray) -> np.ndarray:
    grey = color.rgb2gray(image) if image.ndim == 3 else image
    return grey / 255 if grey.dtype == np.uint8 else grey


def box(shape: tuple[int, ...], split: Split) -> Box:
    """The rectangle of a split in a photograph of this shape.

    The right 40 % are for the test. Of the rest, the bottom strip, as narrow as a crop's circle
    allows, is for validation, and all above it for training.
    """
    height, width = shape
    middle, strip = round(0.6 * width), height - 2 * radius(CROP) - 8
    return {
        "train": Box(0, 0, strip, middle),
        "validation": Box(strip, 0, height, middle),
        "test": Box(0, middle, height, width),
    }[split]


def texture_crops(split: Split, per_class: int, *, seed: int) -> Crops:
    """`per_class` crops of every class, class after class; equal for equal arguments."""
    stream = ("train", "validation", "test").index(split)
    return _crops(CLASSES, per_class, [seed, stream], lambda shape: box(shape, split))


def other_crops(per_class: int, *, seed: int) -> Crops:
    """`per_class` crops from anywhere in each of `OTHER_PHOTOGRAPHS`, each a class of its own."""
    return _crops(OTHER_PHOTOGRAPHS, per_class, [seed, 3], lambda shape: Box(0, 0, *shape))


def _crops(
    names: Iterable[str],
    per_class: int,
    stream: list[int],
    region: Callable[[tuple[int, ...]], Box],
) -> Crops:
    images, labels = [], []
    for label, name in enumerate(names):
        photo = photograph(name)
        rng = np.random.default_rng([*stream, label])
        images += [crop(photo, region(photo.shape), rng) for _ in range(per_class)]
        labels += [label] * per_class
    return Crops(np.stack(images), np.array(labels))


def crop(photo: np.ndarray, region: Box, rng: np.random.Generator) -> np.ndarray:
    """One crop of a region, rotated by any angle, in a random light: (CROP, CROP) uint8."""
    surface = sampled(photo, *crop_grid(region, rng))
    return relit(surface, drawn_light(rng))


def sampled(photo: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A photograph between its pixels, linearly."""
    return map_coordinates(photo, [rows, columns], order=1)


def crop_grid(region: Box, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where in the photograph the pixels of a crop lie: rows and columns, (CROP, CROP) each."""
    inside = radius(CROP)
    row = rng.uniform(region.top + inside, region.bottom - 1 - inside)
    column = rng.uniform(region.left + inside, region.right - 1 - inside)
    return turned_grid(row, column, rng.uniform(0, 2 * math.pi), CROP)


def turned_grid(
    row: float, column: float, angle: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, (size, size) each, of a square around a place, turned by an angle."""
    down, across = _centred(size)
    sin, cos = math.sin(angle), math.cos(angle)
    return row + cos * down - sin * across, column + sin * down + cos * across


def drawn_light(rng: np.random.Generator) -> Light:
    """A light that is drawn alike for every class."""
    gamma = math.exp(rng.uniform(-0.5, 0.5))
    slope, towards = rng.uniform(0, 0.3), rng.uniform(0, 2 * math.pi)
    return Light(gamma, slope, towards, rng.uniform(*BRIGHTNESS), rng.uniform(*CONTRAST))


def relit(grey: np.ndarray, light: Light) -> np.ndarray:
    """The same surface (size, size) in another light: uint8."""
    down, across = _centred(len(grey))
    along = math.sin(light.towards) * down + math.cos(light.towards) * across
    gradient = light.slope * along / radius(len(grey))
    lit = _standard(np.clip(grey, 0, 1) ** light.gamma * (1 + gradient))
    for _ in range(4):  # cutting changes mean and deviation a little, setting them the cut
        lit = _standard(np.clip(lit, -LIMIT, LIMIT))
    return np.rint(255 * np.clip(light.mean + light.deviation * lit, 0, 1)).astype(np.uint8)


def normalized(images: np.ndarray) -> np.ndarray:
    """Crops as the models take them: (N, CROP, CROP, 3) float32, by `PREPROCESSING`."""
    rgb = np.repeat(images[..., None], 3, axis=-1).astype(np.float32) / np.float32(255)
    mean, std = (np.array(x, np.float32) for x in (PREPROCESSING.mean, PREPROCESSING.std))
    return (rgb - mean) / std


def _centred(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns counted from the middle of a crop."""
    line = np.arange(size) - (size - 1) / 2
    return np.meshgrid(line, line, indexing="ij")  # type: ignore[return-value]


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
