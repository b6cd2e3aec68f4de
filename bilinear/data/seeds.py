"""The random numbers of the data: one generator for each purpose, place and epoch.

A generator depends on what it is for alone, not on what was drawn before it, so that neither the
number of workers nor the place where a run was resumed changes a number.
"""

import numpy as np

SPLIT, ORDER, AUGMENTATION = range(3)


def generator(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """NumPy's generator for a purpose and a place: a class, an epoch, or an epoch and an image."""
    # as a spawn key: in a plain list [seed, epoch] and [seed, epoch, 0] would be the same seed
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *place)))
