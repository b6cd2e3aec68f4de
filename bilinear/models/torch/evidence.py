"""What a PyTorch B-CNN computed its logits from."""

import numpy as np
import torch

from .bcnn import BCNN, as_array


def evidence(model: BCNN, images: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The maps as the pool takes them, channels last, then descriptors and logits.

    The model computes in the mode it is in; after `load` that is evaluation.

    Shapes: images (N, H, W, 3) -> maps (N, h, w, C), descriptors (N, D), logits (N, classes).
    """
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(model.classifier.weight)
    with torch.no_grad():
        maps = model.pooled_maps(batch)
        descriptors = model.pool(*maps)
        logits = model.classifier(descriptors)
    return [as_array(m.movedim(1, -1)) for m in maps], as_array(descriptors), as_array(logits)
