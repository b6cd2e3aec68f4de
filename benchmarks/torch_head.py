"""Pooling and classifier in PyTorch, with fused SGD."""

import importlib

import torch

from .calls import CLASSES, Size
from .head import LEARNING_RATE, MOMENTUM, make_head
from .torch import COMPILED, EAGER, OURS, _wait
from .torch_formulas import FORMULAS

namespace = importlib.import_module("bilinear.torch")


def steps(size: Size, device: str) -> dict:
    """Name -> a training step that waits for its result and returns the loss."""
    pool, formula = namespace.BilinearPool(packed=True), FORMULAS["bilinear_pool"]
    return {
        OURS: _step(lambda x, linear: linear(pool(x.mT)), size, device, packed=True),
        EAGER: _step(lambda x, linear: linear(formula(x)), size, device, packed=False),
        COMPILED: _step(
            torch.compile(lambda x, linear: linear(formula(x))), size, device, packed=False
        ),
        "bilinear_scores": _step(_by_scores, size, device, packed=True),
    }


def scores(size: Size, device: str) -> dict:
    """Name -> scores without gradient."""
    head = make_head(size, packed=False)
    x, weight, bias = (torch.from_numpy(a).to(device) for a in (head.x, *head[2:]))
    formula = FORMULAS["bilinear_scores"]
    calls = {OURS: namespace.bilinear_scores, EAGER: formula, COMPILED: torch.compile(formula)}
    return {
        name: _wait(torch.no_grad()(lambda f=f: f(x, weight, bias)), device)
        for name, f in calls.items()
    }


def _by_scores(x, linear):
    return namespace.bilinear_scores(x, linear.weight, linear.bias, packed=True)


def _step(logits, size: Size, device: str, *, packed: bool):
    head = make_head(size, packed=packed)
    linear = torch.nn.Linear(head.weight.shape[1], CLASSES, device="meta").to_empty(device=device)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(head.weight))
        linear.bias.zero_()
    x = torch.from_numpy(head.x).to(device).requires_grad_()
    labels = torch.from_numpy(head.labels).to(device)
    optimizer = torch.optim.SGD(
        linear.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
    )

    def step():
        loss = torch.nn.functional.cross_entropy(logits(x, linear), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # here, so that every step allocates its gradients
        x.grad = None
        return loss.detach()

    return _wait(step, device)
