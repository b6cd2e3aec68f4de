"""What a Keras B-CNN computed its logits from."""

import numpy as np

from .bcnn import BCNN


def evidence(model: BCNN, images: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The maps as the pool takes them, channels last, then descriptors and logits.

    The model computes in the mode it is in; after `load` that is evaluation.

    Shapes: images (N, H, W, 3) -> maps (N, h, w, C), descriptors (N, D), logits (N, classes).
    """
    maps = model.pooled_maps(images)
    descriptors = model.pool(*maps)
    logits = model.classifier(descriptors)
    return [np.asarray(m) for m in maps], np.asarray(descriptors), np.asarray(logits)
