"""A validation part, cut from the training part: what is chosen must not be chosen by the test."""

import math
from dataclasses import replace

from ..contract import refuse
from ..contract._counts import check_seed
from .index import Index
from .seeds import SPLIT, generator


def validation_split(index: Index, fraction: float = 0.1, seed: int = 0) -> Index:
    """The index with about `fraction` of each class's training images for validation.

    Of n images of a class ``⌊fraction·n + ½⌋`` are taken, but at least one, and at least one is
    left to train on; of a single image none. Which they are depends on index, fraction and seed
    alone. A data set that has a validation part (Aircraft) keeps it, as it is.

    Raises: ValueError for a fraction that is not between 0 and 1, or a negative seed.
    """
    if not 0 < fraction < 1:
        remedy = "The published recipes have no validation part; 0.1 is usual."
        invariant = "fraction must lie between 0 and 1"
        refuse(ValueError, "validation_split", invariant, repr(fraction), remedy)
    check_seed("validation_split", seed)
    if index.part("validation"):
        return index
    by_class: list[list[int]] = [[] for _ in index.classes]
    for place, item in enumerate(index.items):
        if item.split == "train":
            by_class[item.label].append(place)
    items = list(index.items)
    for label, places in enumerate(by_class):
        wanted = math.floor(fraction * len(places) + 0.5)
        taken = min(max(wanted, 1), len(places) - 1)
        for place in generator(seed, SPLIT, label).permutation(places)[: max(taken, 0)]:
            items[place] = items[place]._replace(split="validation")
    return replace(index, items=tuple(items))
