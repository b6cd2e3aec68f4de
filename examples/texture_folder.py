"""A data set of textures, as a folder of images for the commands of ``bilinear``.

    python -m examples.texture_folder out/textures

`texture_folder.csv` lists every crop: split, class, number, photograph, scale of the photograph,
center of the crop in the scaled photograph, rotation angle and lighting. Three classes are other
classes at ¾ of the resolution, so some classes differ only in scale. The splits of a photograph
share no pixel at either scale. Nothing is downloaded.

`python -m examples.texture_folder --draw` prints the list, drawn again from its seed.
"""

import argparse
import csv
import functools
import hashlib
import io
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage import transform

from . import textures
from .textures import Box, Light

LIST = Path(__file__).with_suffix(".csv")
SIZE = 64
"""Pixels along each side of a crop."""
FAR = 0.75
CLASSES = {
    "brick": ("brick", 1.0),
    "brick-far": ("brick", FAR),
    "grass": ("grass", 1.0),
    "grass-far": ("grass", FAR),
    "gravel": ("gravel", 1.0),
    "gravel-far": ("gravel", FAR),
    "moon": ("moon", 1.0),
    "tissue": ("tissue", 1.0),
}
"""Class -> photograph and its scale."""
COUNTS = {"train": 40, "val": 12, "test": 24}
"""Crops of each class in each split."""
ACROSS, DOWN, MARGIN = 0.58, 0.72, 1 / 48
"""Borders of the splits and the distance between them, as fractions of the photograph."""
CHECKSUM = "6490d5f1f69d1650503b1ba1958a030fadebac049f5a99cbca7d6869f6458794"
"""SHA-256 checksum of the pixels of all crops, in the order of the list."""


class Crop(NamedTuple):
    """A row of the list. Angles are in degrees, positions in pixels of the scaled photograph."""

    split: str
    name: str
    number: int
    photograph: str
    scale: float
    row: int
    column: int
    angle: int
    gamma: float
    slope: float
    towards: int
    mean: float
    deviation: float

    @property
    def path(self) -> str:
        return f"{self.split}/{self.name}/{self.number:02d}.png"


def read_list() -> list[Crop]:
    """Read the list of all crops."""
    kinds = Crop.__annotations__.values()
    with LIST.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [Crop(*(kind(x) for kind, x in zip(kinds, row, strict=True))) for row in rows]


def pixels(crop: Crop) -> np.ndarray:
    """Compute the pixels of a crop: (SIZE, SIZE) uint8."""
    angle, towards = math.radians(crop.angle), math.radians(crop.towards)
    grid = textures.rotated_grid(crop.row, crop.column, angle, SIZE)
    surface = textures.interpolate(photograph(crop.photograph, crop.scale), *grid)
    light = Light(crop.gamma, crop.slope, towards, crop.mean, crop.deviation)
    return textures.apply_light(surface, light)


@functools.cache
def photograph(name: str, scale: float) -> np.ndarray:
    """A photograph in gray, resized by `scale`."""
    photo = textures.photograph(name)
    return photo if scale == 1 else transform.rescale(photo, scale, anti_aliasing=True)


def write(folder: Path) -> str:
    """Write all crops to a folder; return the checksum of their pixels."""
    total = hashlib.sha256()
    for crop in read_list():
        total.update(save(crop, folder).tobytes())
    return total.hexdigest()


def save(crop: Crop, folder: Path) -> np.ndarray:
    """Write one crop to its path below a folder; return its pixels."""
    image, path = pixels(crop), folder / crop.path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(image).save(temporary, format="PNG")
    temporary.replace(path)  # other processes may be reading the old file
    return image


def region(split: str, height: int, width: int) -> Box:
    """The region of a split: test on the right, validation at the bottom left, training above."""
    middle, bottom = ACROSS * width, DOWN * height
    below, right = bottom + MARGIN * height, middle + MARGIN * width
    sides = {
        "train": (0, 0, bottom, middle),
        "val": (below, 0, height, middle),
        "test": (0, right, height, width),
    }[split]
    return Box(*map(round, sides))


def draw_list(seed: int = 0) -> Iterator[Crop]:
    """Draw the list. Positions, angles and lighting have one distribution for all classes."""
    rng = np.random.default_rng(seed)
    inside = textures.radius(SIZE)
    for split, count in COUNTS.items():
        for name, (photo, scale) in CLASSES.items():
            height, width = photograph(photo, scale).shape
            box = region(split, height, width)
            for number in range(count):
                row = int(rng.integers(box.top + inside, box.bottom - inside))
                column = int(rng.integers(box.left + inside, box.right - inside))
                angle, light = int(rng.integers(360)), textures.draw_light(rng)
                towards = round(math.degrees(light.towards))
                lit = (round(light.gamma, 3), round(light.slope, 3), towards)
                ends = (round(light.mean, 3), round(light.deviation, 3))
                yield Crop(split, name, number, photo, scale, row, column, angle, *lit, *ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/textures"))
    parser.add_argument("--draw", action="store_true", help="print the list and write no image")
    given = parser.parse_args()
    if given.draw:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Crop._fields, *draw_list()])
        print(text.getvalue(), end="")
        return
    found = write(given.folder)
    if found != CHECKSUM:
        reason = "versions of scikit-image, SciPy or Pillow may differ from constraints.txt"
        print(f"the pixels differ from the published ones ({reason})", file=sys.stderr)
    print(f"{given.folder}: {len(read_list())} crops of {len(CLASSES)} classes, {found[:12]}")


if __name__ == "__main__":
    main()
