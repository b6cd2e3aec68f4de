"""The optimizers of the PyTorch engine."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...parameter_groups import Plan


def make_optimizer(plan: Plan, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """A new optimizer for a phase; `parameters` have canonical names."""
    groups = [
        {"params": [parameters[name] for name in names], "weight_decay": decay}
        for names, decay in zip(plan.groups, plan.decays, strict=True)
    ]
    if plan.adamw is None:
        return torch.optim.SGD(groups, momentum=plan.momentum, fused=True)
    beta1, beta2, epsilon = plan.adamw
    options: Any = {"betas": (beta1, beta2), "eps": epsilon}
    return torch.optim.AdamW(groups, fused=True, **options)


def begin_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Start the momentum of a parameter at 0 where its first gradient comes after that of others in
    its group: the fused SGD refuses such a group."""
    for group in optimizer.param_groups:
        updated = [p for p in group["params"] if p.grad is not None and group.get("momentum")]
        new = [p for p in updated if optimizer.state[p].get("momentum_buffer") is None]
        for parameter in new if len(new) < len(updated) else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
