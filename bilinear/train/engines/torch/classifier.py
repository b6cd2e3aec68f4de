"""A linear classifier in PyTorch whose classes are sharded over the processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from ....contract import refuse
from ....models.torch.bcnn import BCNN
from ...processes import Processes
from ...processes.torch import connected

Part = TypeVar("Part")
PREFIX, OPTION = "classifier.", "--shard-classifier (shard_classifier=True)"


class ShardedClassifier:
    """The classifier of a model under `torch.distributed.fsdp.fully_shard`.

    Each process has the rows of ⌈classes / processes⌉ classes, the last ones maybe of fewer. All
    processes call each method together.

    Args:
        model: its classifier is sharded in place.
        processes: two or more, connected by `torch.distributed`.
        device: of the model.

    Attributes: `rows`, the parameters of this process by canonical name, for the optimizer.
    Raises: ValueError for a model without a linear classifier, and where PyTorch cannot shard it.
    """

    def __init__(self, model: BCNN, processes: Processes, device: torch.device) -> None:
        if not isinstance(model.classifier, nn.Linear):
            received, remedy = "a pool that computes the logits", "Leave it out."
            refuse(ValueError, "train", f"{OPTION} needs a linear classifier", received, remedy)
        self.model, self.processes = model, processes
        self.mesh = init_device_mesh(device.type, (processes.count,))
        options: Any = {"mesh": self.mesh, "reshard_after_forward": False}
        self.module: Any = fully_shard(model.classifier, **options)
        self.rows: dict[str, nn.Parameter] = {}
        try:
            self.factor = self._measure_factor()  # also allocates what is then updated in place
        except (RuntimeError, AttributeError) as error:
            received = f"{torch.__version__} on {device.type}: {error}"[:200]
            remedy = "Update PyTorch, or leave it out."
            refuse(ValueError, "train", f"{OPTION} must work in this PyTorch", received, remedy)
        with torch.no_grad():
            own = {PREFIX + name: p.to_local() for name, p in self.module.named_parameters()}
        self.rows = {name: nn.Parameter(rows) for name, rows in own.items()}

    def _measure_factor(self) -> int:
        """The sum of gradients divided by what `fully_shard` makes of them."""
        # the mean, but with gloo in some releases the sum: github.com/pytorch/pytorch/issues/162338
        weight = self.module.weight
        for ones in self.summed([weight.to_local().new_ones(1, weight.shape[1])]):
            self.module(ones).sum().backward()
        rows = self.module.weight.grad.to_local()
        found = self.processes.collect(rows.max().item() if len(rows) else 0.0)
        return round(self.processes.count / found.max())

    def summed(self, parts: Sequence[Part]) -> Iterator[Part]:
        """Yield the parts of a batch, maybe none, for a forward and a backward pass each.

        At the end, `rows` have the gradients, summed over the parts and processes.
        """
        with self.gathered():
            for part in parts:
                is_last = part is parts[-1]
                self.module.set_requires_gradient_sync(is_last)
                self.module.set_reshard_after_backward(is_last)
                yield part
            if not parts:
                weight = self.module.weight
                none = weight.new_zeros(0, weight.shape[1]).requires_grad_()
                with connected():
                    self.module(none).sum().backward()
        for name, row in self.rows.items():
            gradient = getattr(self.module, name.removeprefix(PREFIX)).grad
            row.grad = None if gradient is None else gradient.to_local().mul_(self.factor)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Every process has all rows within the block, so that it can call the model alone."""
        with connected():
            self.module.unshard()
        try:
            yield
        finally:
            self.module.reshard()

    def gather(self, rows: Tensor) -> Tensor:
        """All rows of a tensor of which each process has some, as of `rows`."""
        shape = torch.Size((self.model.num_classes, *rows.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        options: Any = {"run_check": False, "shape": shape, "stride": stride}
        sharded = DTensor.from_local(rows.detach(), self.mesh, [Shard(0)], **options)
        with connected():
            return sharded.full_tensor()

    def select(self, array: np.ndarray) -> np.ndarray:
        """The rows of this process."""
        count = -(-len(array) // self.processes.count)
        return array[self.processes.rank * count :][:count]

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """The model has an unsharded copy of its classifier within the block."""
        copy = nn.Linear(1, 1, bias="classifier.bias" in self.rows, device="meta")
        for name, rows in self.rows.items():
            whole = nn.Parameter(self.gather(rows), requires_grad=False)
            setattr(copy, name.removeprefix(PREFIX), whole)
        self.model.classifier = copy
        try:
            yield
        finally:
            self.model.classifier = self.module

    def clip(self, parameters: Sequence[Tensor], limit: float) -> None:
        """`clip_grad_norm_` by the norm of the whole gradient."""
        rows, gradients = {id(x) for x in self.rows.values()}, ([], [])
        for parameter in parameters:
            if parameter.grad is not None:
                gradients[id(parameter) in rows].append(parameter.grad)
        others, own = (float(nn.utils.get_total_norm(x)) for x in gradients)
        total = (self.processes.add(np.array(own**2)) + others**2) ** 0.5
        nn.utils.clip_grads_with_norm_(parameters, limit, parameters[0].new_tensor(total))
