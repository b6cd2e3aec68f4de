"""B-CNNs of plain PyTorch layers and the published formula, and steps of these and of ours."""

import importlib
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from bilinear.models import plans

from .torch_formulas import bilinear_pool

namespace = importlib.import_module("bilinear.torch")


class Block(nn.Module):
    """torchvision's ``BasicBlock`` or ``Bottleneck``."""

    def __init__(self, plan: plans.Block) -> None:
        super().__init__()
        self.body = nn.Sequential(*map(_layer, plan.residual))
        self.shortcut = nn.Sequential(*map(_layer, plan.downsample or ()))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def _layer(plan: plans.Layer) -> nn.Module:
    match plan:
        case plans.Conv(_, inputs, outputs, kernel, stride, padding, bias):
            return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
        case plans.BatchNorm(_, channels):
            return nn.BatchNorm2d(channels)
        case plans.MaxPool(_, kernel, stride, padding):
            return nn.MaxPool2d(kernel, stride, padding)
        case plans.Relu():
            return nn.ReLU(inplace=True)
        case plans.Block():
            return Block(plan)
        case _:
            raise ValueError(plan)


class Network(nn.Module):
    """A backbone, the published formula of the pooling, and a linear classifier."""

    def __init__(self, backbone: str, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*map(_layer, plans.BACKBONES[backbone]))
        self.classifier = nn.Linear(plans.CHANNELS[backbone] ** 2, classes)

    def forward(self, images):
        return self.classifier(bilinear_pool(self.backbone(images).flatten(2).mT))


WAYS: dict[str, Callable] = {"eager": lambda f: f, "torch.compile": torch.compile}
"""The ways to run a network."""


def steps(
    how: str,
    backbone: str,
    classes: int,
    images,
    labels,
    *,
    training: bool,
    device: str = "cpu",
    half: bool = False,
) -> dict[str, Callable]:
    """Return the steps "ours", "plain" and "pooling" (only the pooling of ours).

    A training step returns the loss, an inference step the logits. Images are (N, H, W, 3). With
    `half`, the networks run under autocast to bfloat16. On a GPU, the steps do not wait.
    """
    x, classes_of = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
    x, classes_of = x.to(device), classes_of.to(device)
    ours = namespace.BCNN(backbone, classes, device=device)
    plain = Network(backbone, classes).to(device)
    with torch.no_grad():  # both are in the order of torchvision
        for own, other in zip(plain.state_dict().values(), ours.state_dict().values(), strict=True):
            own.copy_(other)
    models = {
        who: model.to(memory_format=torch.channels_last).train(training)
        for who, model in {"ours": ours, "plain": plain}.items()
    }
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half)
    with torch.no_grad(), autocast:
        features = ours.feature_maps(x)[0].contiguous(memory_format=torch.channels_last)

    def way(module):
        run = WAYS[how](module)

        def in_half(x):
            with autocast:
                result = run(x)
            return result.float()

        return in_half if half else run

    def step(model):
        run = way(model)
        if not training:
            return lambda: _logits(run, x)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        return lambda: _train_step(run, optimizer, x, classes_of)

    def pooling(pool):
        leaf = features.detach().requires_grad_(training)
        size = ours.pool.descriptor_size(features.shape[1])
        cotangent = torch.ones(len(features), size, device=device)
        if not training:
            return lambda: _logits(pool, leaf)
        return lambda: torch.autograd.grad(pool(leaf), leaf, cotangent)

    found = {who: step(model) for who, model in models.items()}
    return found | {"pooling": pooling(way(ours.pool))}


def _logits(model, x):
    with torch.inference_mode():
        return model(x)


def _train_step(model, optimizer, x, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()
