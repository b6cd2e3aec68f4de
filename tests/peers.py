"""Models with the module names, formulas and checkpoints of published B-CNN code, in PyTorch.

The attributes of each module have the names that `bilinear.models.layouts` lists, and `checkpoint`
returns the tensors in the structure of the published files.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bilinear.models.torch.backbone import named_backbone

WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of the convolutions of VGG16; 0 is a max-pooling layer."""


def vgg16() -> nn.Sequential:
    """Return ``vgg16().features`` of torchvision, including pool5."""
    layers, inputs = [], 3
    for outputs in WIDTHS:
        if outputs == 0:
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
    return nn.Sequential(*layers)


def resnet18() -> nn.Sequential:
    """Return the children of torchvision's ``resnet18()`` except the last two, by index."""
    backbone = named_backbone("resnet18").to_empty(device="cpu")
    for name, buffer in backbone.named_buffers():
        buffer.fill_(1 if name.endswith("var") else 0)
    return nn.Sequential(*backbone.children())


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of the outer products, flattened in row-major order."""
    x, y = x.flatten(2), y.flatten(2)
    return (x @ y.mT / x.shape[2]).flatten(1)


class Extractors(nn.Module):
    def __init__(self, streams: int) -> None:
        super().__init__()
        self.feature_extractors = nn.ModuleList(nn.Module() for _ in range(streams))
        for extractor in self.feature_extractors:
            extractor.model = vgg16()[:-1]


class Umass(nn.Module):
    def __init__(self, num_classes: int, streams: int = 1) -> None:
        super().__init__()
        self.feature_extractors = Extractors(streams)
        self.fc = nn.Linear(512**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = [part.model(images) for part in self.feature_extractors.feature_extractors]
        z = self.pool(maps)
        z = (F.relu(z) + 1e-5).sqrt() - (F.relu(-z) + 1e-5).sqrt()
        return self.fc(F.normalize(z))

    def pool(self, maps: list[Tensor]) -> Tensor:
        return outer(maps[0], maps[-1])

    def checkpoint(self) -> Any:
        state = nn.DataParallel(self).state_dict()
        return {"itr": 8, "state_dict": state, "optimizer": {"state": {}}, "best_acc": 0.8}


class UmassImproved(Umass):
    """``--matrix_sqrt_iter 5``, with division by the Frobenius norm."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.m_sqrt = nn.Module()
        self.m_sqrt.register_buffer("I", torch.eye(512))

    def pool(self, maps: list[Tensor]) -> Tensor:
        a = outer(maps[0], maps[0]).unflatten(1, (512, 512))
        norm = a.norm(dim=(1, 2), keepdim=True)
        identity = self.get_buffer("m_sqrt.I")
        y, z = a / norm, identity.expand_as(a)
        for _ in range(5):
            t = (3 * identity - z @ y) / 2
            y, z = y @ t, t @ z
        return (y * norm.sqrt()).flatten(1)


class UmassDemocratic(Umass):
    """``--pooling_method gamma_demo``: γ = τ = 0.5, ten steps, no division by L."""

    def pool(self, maps: list[Tensor]) -> Tensor:
        x = maps[0].flatten(2)
        kernel = (x.mT @ x) ** 2
        target = kernel.sum(2, keepdim=True) ** 0.5
        weights = torch.ones_like(target)
        for _ in range(10):
            fraction = (target + 1e-10) ** 0.5 / ((kernel @ weights + 1e-10) ** 0.5 + 1e-10)
            weights = (weights + 1e-10) ** 0.5 * fraction
        x = x * (weights.mT + 1e-8).sqrt()
        return (x @ x.mT).flatten(1)


class Haomood(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = vgg16()[:-1]
        self.fc = nn.Linear(512**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        return self.fc(F.normalize((outer(maps, maps) + 1e-5).sqrt()))

    def checkpoint(self) -> Any:
        return nn.DataParallel(self).state_dict()


class FastMpn(nn.Module):
    """``--representation BCNN``; only the backbone is in a DataParallel."""

    def __init__(self, num_classes: int, backbone: str) -> None:
        super().__init__()
        features = vgg16()[:-1] if backbone == "vgg16" else resnet18()
        self.features = nn.DataParallel(features, [])
        self.classifier = nn.Linear(512**2, num_classes)
        self.arch = backbone

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features.module(images)
        z = outer(maps, maps)
        return self.classifier(F.normalize(z.sign() * (z.abs() + 1e-8).sqrt()))

    def checkpoint(self) -> Any:
        best = torch.tensor([84.0])
        state = self.state_dict()
        return {"epoch": 200, "arch": self.arch, "state_dict": state, "best_prec1": best}


LAST = (".28.", ".7.0.bn2.", ".7.0.downsample.1.", ".7.1.bn2.")
"""Parts of the names of the layers whose sum is the last feature map, in either backbone."""


def randomize(module: nn.Module, seed: int, scale: float) -> nn.Module:
    """Return `module` in evaluation mode with random parameters of balanced size.

    Pooled feature maps have the size `scale`, for which products are near eps, so that the logits
    depend on the formula of the root. The bias keeps the logits away from 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                variance = 2 / parameter[0].numel() if parameter.ndim == 4 else 1e-3
                parameter.normal_(0, variance**0.5, generator=generator)
            else:
                is_scale = name.endswith("weight")
                parameter.normal_(float(is_scale), 0.1, generator=generator)
            if any(part in name for part in LAST):
                parameter.mul_(scale)
    return module.eval()
