"""A benchmark of fine-grained textures, as a folder of images that every command takes.

    python -m examples.texture_folder out/textures

`texture_folder.csv` lists every crop: its part, class and number, the photograph, the scale at
which that is seen, the crop's middle in the scaled photograph, its angle, and its light. Three
classes are three others seen from farther off, so brick must be told from brick, too. The parts of
a photograph share no pixel, at either scale, and lie some pixels apart. Nothing is downloaded.

`python -m examples.texture_folder --draw` prints the list as it was drawn.
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
"""Class -> its photograph, and the scale at which it is seen."""
COUNTS = {"train": 40, "val": 12, "test": 24}
"""Crops of each class in each part."""
ACROSS, DOWN, MARGIN = 0.58, 0.72, 1 / 48
"""Where the parts meet, and how far they stay apart, in shares of the photograph's sides."""
CHECKSUM = "6490d5f1f69d1650503b1ba1958a030fadebac049f5a99cbca7d6869f6458794"
"""Of the pixels of all crops, in the order of the list: sha256."""


class Crop(NamedTuple):
    """A row of the list. Angles are in degrees, places in pixels of the scaled photograph."""

    part: str
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
        return f"{self.part}/{self.name}/{self.number:02d}.png"


def listed() -> list[Crop]:
    """All crops of the benchmark."""
    kinds = Crop.__annotations__.values()
    with LIST.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [Crop(*(kind(x) for kind, x in zip(kinds, row, strict=True))) for row in rows]


def pixels(crop: Crop) -> np.ndarray:
    """(SIZE, SIZE) uint8."""
    angle, towards = math.radians(crop.angle), math.radians(crop.towards)
    place = textures.turned_grid(crop.row, crop.column, angle, SIZE)
    surface = textures.sampled(photograph(crop.photograph, crop.scale), *place)
    light = Light(crop.gamma, crop.slope, towards, crop.mean, crop.deviation)
    return textures.relit(surface, light)


@functools.cache
def photograph(name: str, scale: float) -> np.ndarray:
    """A photograph in grey, seen from farther off if the scale is below 1."""
    photo = textures.photograph(name)
    return photo if scale == 1 else transform.rescale(photo, scale, anti_aliasing=True)


def write(folder: Path) -> str:
    """Cut all crops into a folder, those of before replaced; the checksum of their pixels."""
    total = hashlib.sha256()
    for crop in listed():
        total.update(save(crop, folder).tobytes())
    return total.hexdigest()


def save(crop: Crop, folder: Path) -> np.ndarray:
    """Cut one crop into its place below a folder; its pixels."""
    image, path = pixels(crop), folder / crop.path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(image).save(temporary, format="PNG")
    temporary.replace(path)  # others may be reading what was there, which is the same
    return image


def region(part: str, height: int, width: int) -> Box:
    """The test part is on the right; of the rest the validation part is at the bottom."""
    middle, bottom = ACROSS * width, DOWN * height
    below, right = bottom + MARGIN * height, middle + MARGIN * width
    sides = {
        "train": (0, 0, bottom, middle),
        "val": (below, 0, height, middle),
        "test": (0, right, height, width),
    }[part]
    return Box(*map(round, sides))


def drawn(seed: int = 0) -> Iterator[Crop]:
    """The list, drawn: places, angles and lights of every class alike."""
    rng = np.random.default_rng(seed)
    inside = textures.radius(SIZE)
    for part, count in COUNTS.items():
        for name, (photo, scale) in CLASSES.items():
            height, width = photograph(photo, scale).shape
            box = region(part, height, width)
            for number in range(count):
                row = int(rng.integers(box.top + inside, box.bottom - inside))
                column = int(rng.integers(box.left + inside, box.right - inside))
                angle, light = int(rng.integers(360)), textures.drawn_light(rng)
                towards = round(math.degrees(light.towards))
                lit = (round(light.gamma, 3), round(light.slope, 3), towards)
                ends = (round(light.mean, 3), round(light.deviation, 3))
                yield Crop(part, name, number, photo, scale, row, column, angle, *lit, *ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/textures"))
    parser.add_argument("--draw", action="store_true", help="print a new list; cut nothing")
    given = parser.parse_args()
    if given.draw:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Crop._fields, *drawn()])
        print(text.getvalue(), end="")
        return
    found = write(given.folder)
    if found != CHECKSUM:
        words = "other versions of scikit-image, SciPy or Pillow than those of constraints.txt"
        print(f"the pixels are not the published ones ({words}?)", file=sys.stderr)
    print(f"{given.folder}: {len(listed())} crops of {len(CLASSES)} classes, {found[:12]}")


if __name__ == "__main__":
    main()
