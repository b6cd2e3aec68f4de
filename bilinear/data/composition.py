"""What in the composition of a data set makes training or its validation unreliable."""

import math
from collections import Counter
from statistics import median

from .index import Index

FEW = 10
"""Training images of a class below which it is named."""
FEW_VALIDATION = 100
LARGE = 5
"""Ratio of the largest class to the median class above which it is named."""
NAMED = 5


def composition_warnings(index: Index, *, balanced: bool = False) -> list[str]:
    """Describe small classes, a small validation split and, unless `balanced`, unequal classes."""
    counts = Counter(item.label for item in index.split("train"))
    sizes = {name: counts[label] for label, name in enumerate(index.classes)}
    found = []
    if few := {name: size for name, size in sizes.items() if size < FEW}:
        first = sorted(few.items(), key=lambda pair: pair[1])[:NAMED]
        listed = ", ".join(f"{name} {size}" for name, size in first)
        more = ", …" if len(few) > NAMED else ""
        found.append(
            f"{len(few):,} of {len(sizes):,} classes have fewer than {FEW} training images: "
            f"{listed}{more}; their accuracy will be low"
        )
    images = len(index.split("validation"))
    if 0 < images < FEW_VALIDATION:
        error = math.sqrt(1 / 4 / images)
        found.append(
            f"the validation split has {images} images: the standard error of its accuracy is up "
            f"to {error:.0%}, so differences below {2 * error:.0%} say little"
        )
    largest, middle = max(sizes.items(), key=lambda pair: pair[1]), median(sizes.values())
    if not balanced and largest[1] > LARGE * middle > 0:
        found.append(
            f"the class {largest[0]} has {largest[1]:,} training images, and the median class "
            f"{middle:,.0f}; --set class_weights=balanced gives all classes the same weight"
        )
    return found
