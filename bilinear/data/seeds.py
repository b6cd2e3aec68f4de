"""Random generators of the data pipeline, one for each purpose, epoch and image.

No generator depends on earlier draws: workers and resumed runs draw the same numbers.
"""

import numpy as np

SPLIT, ORDER, AUGMENTATION = range(3)


def generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """Return a NumPy generator. `key` is a class, an epoch, or an epoch and an image."""
    # a spawn key, because in a plain list [seed, epoch] and [seed, epoch, 0] are the same seed
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *key)))
