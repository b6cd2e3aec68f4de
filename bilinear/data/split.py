"""A validation split, taken from the training split."""

import math
from dataclasses import replace

from ..contract import refuse
from ..contract.arguments import WHOLE, check_argument
from .index import Index
from .seeds import SPLIT, generator


def validation_split(index: Index, fraction: float = 0.1, seed: int = 0) -> Index:
    """Move about `fraction` of each class's training images to the validation split.

    From n images of a class, ``⌊fraction·n + ½⌋`` are taken, but at least one, and at least one
    stays for training. A class with a single image keeps it for training. The choice depends only
    on `index`, `fraction` and `seed`. An index that already has a validation split (Aircraft) is
    returned unchanged.

    Args:
        index: the index of a data set.
        fraction: between 0 and 1, default 0.1.
        seed: a non-negative integer, default 0.

    Raises: ValueError for an invalid fraction or seed.
    """
    if not 0 < fraction < 1:
        remedy = "The default is 0.1."
        invariant = "fraction must be between 0 and 1"
        refuse(ValueError, "validation_split", invariant, repr(fraction), remedy)
    check_argument("validation_split", "seed", seed, WHOLE)
    if index.split("validation"):
        return index
    by_class: list[list[int]] = [[] for _ in index.classes]
    for position, item in enumerate(index.items):
        if item.split == "train":
            by_class[item.label].append(position)
    items = list(index.items)
    for label, positions in enumerate(by_class):
        count = math.floor(fraction * len(positions) + 0.5)
        count = max(min(max(count, 1), len(positions) - 1), 0)
        for position in generator(seed, SPLIT, label).permutation(positions)[:count]:
            items[position] = items[position]._replace(split="validation")
    return replace(index, items=tuple(items))
