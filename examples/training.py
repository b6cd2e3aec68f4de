"""The networks of the demo, and the one recipe that trains them all."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bilinear.torch import BCNN, BilinearPool

from . import textures
from .textures import OTHER_PHOTOGRAPHS, Crops

TRAIN = 64
"""Crops of each class to train on."""
SHARE = 2
"""Crops of each class in a batch."""
EPOCHS_BEFORE, EPOCHS = 4, 3
"""How often each crop is seen: of the other photographs, and of the textures."""
RATE_BEFORE, RATE = 1e-3, 3e-4
"""Largest learning rates, before and then. The second was chosen on validation crops, seeds 100
and 101: for either pooling the better of 3e-4 and 1e-3, and a larger one for the classifier alone
(1e-3, 3e-3) did not help."""
WEIGHT_DECAY = 5e-4


class AveragePool(nn.Module):
    """Global average pooling, to stand where `BilinearPool` does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        return channels


class BilinearOfAverage(nn.Module):
    """The control: bilinear pooling of each map's average, as if that were its only location.

    Size, root and norm of the descriptor are a B-CNN's, but it says only what the average says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = BilinearPool()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x.mean((2, 3), keepdim=True))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        return self.pool.descriptor_size(channels, channels_b)


POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "bilinear": BilinearPool,
    "average": AveragePool,
    "bilinear of average": BilinearOfAverage,
}


def network(pooling: str, classes: int, seed: int) -> BCNN:
    """All have equal backbone weights for equal seeds: the backbone's are drawn first."""
    return BCNN("resnet18", classes, pool=POOLINGS[pooling](), seed=seed)


def trained_before(seed: int) -> dict[str, Tensor]:
    """A backbone that has learned to name the other photographs, with average pooling.

    It stands in for one that was trained on ImageNet, which would have to be downloaded.
    """
    model = network("average", len(OTHER_PHOTOGRAPHS), seed)
    crops = textures.other_crops(TRAIN, seed=seed)
    note = f"other photographs, seed {seed}"
    train(model, crops, EPOCHS_BEFORE, RATE_BEFORE, seed=seed, note=note)
    return model.backbone.state_dict()


def train(model: BCNN, crops: Crops, epochs: int, rate: float, *, seed: int, note: str) -> None:
    """The whole network by AdamW; the rate rises for a tenth of the steps and falls as a cosine.

    AdamW, because its steps do not depend on the scale of a gradient: unit descriptors and averages
    give the classifier, and through it the backbone, gradients that differ by an order of
    magnitude, and SGD would need rates of its own for every pooling.
    """
    images, labels = tensors(crops)
    classes = int(labels.max()) + 1
    groups = [
        {"params": model.backbone.parameters(), "weight_decay": WEIGHT_DECAY},
        {"params": model.classifier.parameters(), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    rng = np.random.default_rng(seed)
    order = np.concatenate([batches(len(images), classes, rng) for _ in range(epochs)])
    steps = len(order)
    rise_and_fall = [
        min(1, 10 * (step + 1) / steps) * (1 + math.cos(math.pi * step / steps)) / 2
        for step in range(steps + 1)
    ]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rise_and_fall.__getitem__)
    model.train()
    with tqdm(order, desc=note, unit="step", mininterval=1) as bar:
        for batch in bar:
            turned = torch.rot90(images[batch], int(rng.integers(4)), (2, 3))
            turned = turned.flip(3) if rng.integers(2) else turned
            loss = F.cross_entropy(model(turned), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.eval()


def batches(crops: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """The crops of one epoch in random order, equally many of each class in every batch:
    (steps, SHARE · classes) indices.
    """
    per_class = crops // classes
    shuffled = np.stack(
        [start + rng.permutation(per_class) for start in range(0, crops, per_class)]
    )
    shares = shuffled.reshape(classes, -1, SHARE).transpose(1, 0, 2)
    return shares.reshape(-1, SHARE * classes)


def tensors(crops: Crops) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(textures.normalized(crops.images))
    return images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(crops.labels)
