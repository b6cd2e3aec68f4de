"""The networks of the demo and the recipe that trains all of them."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bilinear.torch import BCNN, BilinearPool, CovariancePool

from . import textures
from .textures import OTHER_PHOTOGRAPHS, Crops

TRAIN = 64
"""Training crops of each class."""
PER_CLASS = 2
"""Crops of each class in a batch."""
EPOCHS_PRETRAINING, EPOCHS = 4, 3
"""Epochs on the other photographs, and on the textures."""
LEARNING_RATE_PRETRAINING, LEARNING_RATE = 1e-3, 3e-4
"""Largest learning rates. The second was chosen on validation crops with the seeds 100 and 101:
3e-4 was better than 1e-3 for bilinear and for average pooling, and a larger learning rate for the
classifier alone (1e-3, 3e-3) did not help."""
WEIGHT_DECAY = 5e-4


class AveragePool(nn.Module):
    """Global average pooling with the interface of `BilinearPool`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        return channels


class BilinearOfAverage(nn.Module):
    """The control: bilinear pooling of the average feature vector.

    The descriptor has the size, root and norm of a B-CNN's descriptor, but it depends only on the
    average over locations.
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
    "covariance": CovariancePool,
    "bilinear of average": BilinearOfAverage,
}
"""The first three are trained in each run, the control only with several seeds."""


def make_network(pooling: str, classes: int, seed: int) -> BCNN:
    """A ResNet18 with the given pooling. Equal seeds give equal initial backbone weights."""
    return BCNN("resnet18", classes, pool=POOLINGS[pooling](), seed=seed)


def pretrained_backbone(seed: int) -> dict[str, Tensor]:
    """Train a backbone to classify the other photographs, with average pooling.

    It replaces a backbone pretrained on ImageNet, which would have to be downloaded.
    """
    model = make_network("average", len(OTHER_PHOTOGRAPHS), seed)
    crops = textures.other_crops(TRAIN, seed=seed)
    note = f"other photographs, seed {seed}"
    train(model, crops, EPOCHS_PRETRAINING, LEARNING_RATE_PRETRAINING, seed=seed, note=note)
    return model.backbone.state_dict()


def train(model: BCNN, crops: Crops, epochs: int, rate: float, *, seed: int, note: str) -> None:
    """Train the whole network with AdamW, linear warm-up over a tenth of the steps, cosine decay.

    The steps of AdamW do not depend on the scale of the gradients. Bilinear descriptors have unit
    norm and averages do not, so the gradients differ by an order of magnitude. With SGD, each
    pooling would need its own learning rate.
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
    factors = [
        min(1, 10 * (step + 1) / steps) * (1 + math.cos(math.pi * step / steps)) / 2
        for step in range(steps + 1)
    ]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors.__getitem__)
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
    """Indices of one epoch in random order: (steps, PER_CLASS · classes).

    Every batch has `PER_CLASS` crops of each class.
    """
    per_class = crops // classes
    shuffled = np.stack(
        [start + rng.permutation(per_class) for start in range(0, crops, per_class)]
    )
    batches_by_class = shuffled.reshape(classes, -1, PER_CLASS).transpose(1, 0, 2)
    return batches_by_class.reshape(-1, PER_CLASS * classes)


def tensors(crops: Crops) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(textures.normalized(crops.images))
    return images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(crops.labels)
