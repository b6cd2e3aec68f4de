"""What the processes of the PyTorch engine exchange in each step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...processes import Processes
from ...processes.torch import add_tensors


def add_over_processes(
    processes: Processes,
    total: Tensor,
    images: int,
    trained: Sequence[Tensor],
    statistics: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """The sum of `total`, loss and correct predictions; also add the gradients of `trained`.

    `statistics` are pairs of a tensor and its value before this step. Their changes are averaged
    over the images, of which this process has `images`.
    """
    own = [*total.tolist(), images, *(p.grad is not None for p in trained)]
    loss, correct, count, *reached = processes.add(np.array(own, np.float64))
    given = [p for p, number in zip(trained, reached, strict=True) if number]
    for parameter in given:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    changes = [(x - old) * (images / count) for x, old in statistics]
    add_tensors([*(p.grad for p in given if p.grad is not None), *changes])
    for (x, old), change in zip(statistics, changes, strict=True):
        x.copy_(old + change)
    return torch.tensor([loss, correct], dtype=torch.float64)
