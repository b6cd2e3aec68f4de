"""The two networks of the demo and the two recipes that train them."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bilinear.torch import BCNN

from . import textures
from .textures import CLASSES, Crops

SHARE = 2
"""Crops of each class in a batch."""
EPOCHS, PASSES = 4, 10
"""How often each crop is seen by a whole network, and by a classifier alone."""


class Rates(NamedTuple):
    """Largest learning rates of the backbone and of the classifier."""

    backbone: float
    classifier: float


RATES = {"bilinear": Rates(0.03, 10.0), "average": Rates(0.03, 0.01)}
"""End to end: the best of a grid on the validation crops, seed 0, four epochs: bilinear of {0.01,
0.03, 0.1} × {1, 3, 10, 30} in seven pairs, average of {0.01, 0.03, 0.1} × {0.003, 0.01, 0.03} in
six."""
CLASSIFIER_RATES = {"bilinear": 10.0, "average": 0.03}
"""On a frozen backbone, after a grid on the validation crops of seed 0 with 20 passes. Average: the
most accurate of {0.003, 0.01, 0.03, 0.1}. Bilinear, of {0.3, 1, 3, 10, 30}: 30 was ahead of 10 by
0.3 points, with three times its loss, so 10 was taken."""


class AveragePool(nn.Module):
    """Global average pooling, to stand where `BilinearPool` does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        return channels


def network(pooling: str, seed: int) -> BCNN:
    """Both have equal backbone weights for equal seeds: the backbone's are drawn first."""
    pool = AveragePool() if pooling == "average" else None
    return BCNN("resnet18", len(CLASSES), pool=pool, seed=seed)


def train(model: BCNN, crops: Crops, rates: Rates, *, seed: int, note: str) -> None:
    """SGD with momentum 0.9; the rates rise for a tenth of the steps and fall as a cosine.

    The backbone's weight decay is 5e-4. The classifier has none: decay acts through the rate, and
    the rates that suit unit descriptors and average features differ by a factor of hundreds.
    """
    images, labels = tensors(crops)
    groups = [
        {"params": model.backbone.parameters(), "lr": rates.backbone, "weight_decay": 5e-4},
        {"params": model.classifier.parameters(), "lr": rates.classifier},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    rng = np.random.default_rng(seed)
    order = np.concatenate([batches(len(images) // len(CLASSES), rng) for _ in range(EPOCHS)])
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


def frozen_maps(model: BCNN, crops: Crops) -> Tensor:
    """The feature maps of the crops in each of four rotations: (4 · N, C, h, w)."""
    images, _ = tensors(crops)
    parts = torch.cat([torch.rot90(images, turn, (2, 3)) for turn in range(4)]).split(32)
    with torch.no_grad():
        return torch.cat([model.eval().feature_maps(part)[0] for part in tqdm(parts, desc="maps")])


def teach(
    model: BCNN, maps: Tensor, labels: np.ndarray, rate: float, *, seed: int, note: str
) -> None:
    """Train the classifier alone, on the maps of a frozen backbone in evaluation mode: the first
    step of the published recipe.
    """
    model.eval()
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr=rate, momentum=0.9)
    rng = np.random.default_rng(seed)
    order = np.concatenate([batches(len(labels) // len(CLASSES), rng) for _ in range(PASSES)])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order))
    with tqdm(order, desc=note, unit="step", mininterval=1) as bar:
        for batch in bar:
            turned = batch + len(labels) * rng.integers(4, size=len(batch))
            loss = F.cross_entropy(model.classifier(model.pool(maps[turned])), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def batches(per_class: int, rng: np.random.Generator) -> np.ndarray:
    """The crops of one epoch in random order: (steps, SHARE · classes) indices.

    Every batch holds equally many of each class. Descriptors of all crops point much the same way
    (their cosine is 0.9 before training), and along that way the classifier's weights act as
    biases with a large learning rate: uneven batches throw them to and fro.
    """
    starts = range(0, per_class * len(CLASSES), per_class)
    shuffled = np.stack([start + rng.permutation(per_class) for start in starts])
    shares = shuffled.reshape(len(CLASSES), -1, SHARE).transpose(1, 0, 2)
    return shares.reshape(-1, SHARE * len(CLASSES))


def tensors(crops: Crops) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(textures.normalized(crops.images))
    return images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(crops.labels)
