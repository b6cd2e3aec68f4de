"""Labelled gray crops of textures from the photographs in scikit-image.

    crops = texture_crops("train", 64, seed=0)
    crops.images                                     # (classes · 64, 128, 128) uint8
    other_crops(64, seed=0)                          # other photographs, for pretraining

Each photograph is one class and is divided into three disjoint rectangles: training, validation
(to choose learning rates) and test. A crop is a rotated square whose circumscribed circle is inside
its rectangle, so no crop contains a pixel of another split.

Then the lighting changes: a gamma, a gradient across the crop, and a brightness and contrast that
are set exactly and have one distribution for all classes. So the mean and the standard deviation of
a crop do not predict its class. Only the pattern does.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates
from skimage import color, data, measure

from bilinear.data.images import Preprocessing

CROP = 128
"""Side of a crop of the demo, in pixels."""

BRIGHTNESS = (0.45, 0.55)
CONTRAST = (0.08, 0.14)
"""Bounds of the mean and the standard deviation of a crop, on the scale [0, 1]."""
LIMIT = 3.0
"""Standard deviations from the mean at which values are clipped."""

PREPROCESSING = Preprocessing(size=CROP, mean=(0.5, 0.5, 0.5), std=(0.15, 0.15, 0.15))
"""Preprocessing of a crop that is saved as an image. `normalized` does the same for arrays."""

Split = Literal["train", "validation", "test"]


class Box(NamedTuple):
    """A rectangle of a photograph in pixels, without bottom and right."""

    top: int
    left: int
    bottom: int
    right: int


class Light(NamedTuple):
    """Lighting of a crop. Mean and standard deviation of the result are set exactly."""

    gamma: float
    slope: float
    """Slope of the gradient, from the center of the crop to its circumscribed circle."""
    towards: float
    """Direction of the gradient in radians."""
    mean: float
    deviation: float


class Crops(NamedTuple):
    """Gray crops (N, CROP, CROP) uint8 and their labels."""

    images: np.ndarray
    labels: np.ndarray


def _stars() -> np.ndarray:
    return data.hubble_deep_field()


def _retina() -> np.ndarray:
    """At half the resolution, without the black frame and the border of the round field."""
    gray = _gray(data.retina())
    return measure.block_reduce(gray, 2, np.mean)[112:592, 110:590]


PHOTOGRAPHS = {
    "brick": data.brick,
    "grass": data.grass,
    "gravel": data.gravel,
    "moon": data.moon,
    "retina": _retina,
    "stars": _stars,
    "tissue": data.immunohistochemistry,
}
"""Class -> photograph. All are part of the scikit-image wheel; nothing is downloaded."""

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
"""All other photographs of the wheel that are large enough for a crop."""


def photograph(name: str) -> np.ndarray:
    """The photograph of a class in gray: (H, W) float64 in [0, 1]."""
    return _gray((PHOTOGRAPHS | OTHER_PHOTOGRAPHS)[name]())


def radius(size: int) -> int:
    """Radius of the circle that contains a square of `size` pixels at any angle."""
    return math.ceil(size / math.sqrt(2))


def _gray(image: np.ndarray) -> np.ndarray:
    gray = color.rgb2gray(image) if image.ndim == 3 else image
    return gray / 255 if gray.dtype == np.uint8 else gray


def box(shape: tuple[int, ...], split: Split) -> Box:
    """The rectangle of a split in a photograph of this shape.

    The right 40 % are the test split. On the left, the bottom strip is the validation split, as
    narrow as the circle of a crop allows, and the rest is the training split.
    """
    height, width = shape
    middle, strip = round(0.6 * width), height - 2 * radius(CROP) - 8
    return {
        "train": Box(0, 0, strip, middle),
        "validation": Box(strip, 0, height, middle),
        "test": Box(0, middle, height, width),
    }[split]


def texture_crops(split: Split, per_class: int, *, seed: int) -> Crops:
    """Return `per_class` crops of every class, in class order. Deterministic."""
    stream = ("train", "validation", "test").index(split)
    return _crops(CLASSES, per_class, [seed, stream], lambda shape: box(shape, split))


def other_crops(per_class: int, *, seed: int) -> Crops:
    """Return `per_class` crops of each of `OTHER_PHOTOGRAPHS`. Each photograph is a class."""
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
    """One crop of a region with random rotation and lighting: (CROP, CROP) uint8."""
    surface = interpolate(photo, *crop_grid(region, rng))
    return apply_light(surface, draw_light(rng))


def interpolate(photo: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolate a photograph linearly."""
    return map_coordinates(photo, [rows, columns], order=1)


def crop_grid(region: Box, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the pixels of a random crop: rows and columns, (CROP, CROP) each."""
    inside = radius(CROP)
    row = rng.uniform(region.top + inside, region.bottom - 1 - inside)
    column = rng.uniform(region.left + inside, region.right - 1 - inside)
    return rotated_grid(row, column, rng.uniform(0, 2 * math.pi), CROP)


def rotated_grid(
    row: float, column: float, angle: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, (size, size) each, of a rotated square around a position."""
    down, across = _centered_grid(size)
    sin, cos = math.sin(angle), math.cos(angle)
    return row + cos * down - sin * across, column + sin * down + cos * across


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a lighting, with one distribution for all classes."""
    gamma = math.exp(rng.uniform(-0.5, 0.5))
    slope, towards = rng.uniform(0, 0.3), rng.uniform(0, 2 * math.pi)
    return Light(gamma, slope, towards, rng.uniform(*BRIGHTNESS), rng.uniform(*CONTRAST))


def apply_light(gray: np.ndarray, light: Light) -> np.ndarray:
    """Apply a lighting to a crop (size, size); return uint8."""
    down, across = _centered_grid(len(gray))
    along = math.sin(light.towards) * down + math.cos(light.towards) * across
    gradient = light.slope * along / radius(len(gray))
    lit = _standardize(np.clip(gray, 0, 1) ** light.gamma * (1 + gradient))
    for _ in range(4):  # clipping changes mean and deviation, and normalizing changes the clipping
        lit = _standardize(np.clip(lit, -LIMIT, LIMIT))
    return np.rint(255 * np.clip(light.mean + light.deviation * lit, 0, 1)).astype(np.uint8)


def normalized(images: np.ndarray) -> np.ndarray:
    """Crops as model inputs: (N, CROP, CROP, 3) float32, with `PREPROCESSING`."""
    rgb = np.repeat(images[..., None], 3, axis=-1).astype(np.float32) / np.float32(255)
    mean, std = (np.array(x, np.float32) for x in (PREPROCESSING.mean, PREPROCESSING.std))
    return (rgb - mean) / std


def _centered_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns relative to the center of a crop."""
    line = np.arange(size) - (size - 1) / 2
    return np.meshgrid(line, line, indexing="ij")  # type: ignore[return-value]


def _standardize(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
