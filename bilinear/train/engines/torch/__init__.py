"""The PyTorch engine."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from ...._require import require

require("torch")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ....contract import refuse
from ....models.torch.bcnn import BCNN, save
from ....models.torch.framework import from_numpy as as_tensor
from ....models.torch.framework import to_numpy as as_array
from ....models.torch.settings import deterministic, find_device, precision
from ...parameter_groups import Plan
from ...processes import Processes
from ...processes.torch import connected
from ..parts import split_batch
from .linear import Linear
from .optimizers import begin_momenta, make_optimizer
from .sums import add_over_processes

__all__ = ["BCNN", "Engine"]


class Engine:
    """`Engine` of `bilinear.train.engines`, with `torch.optim.SGD` or `torch.optim.AdamW`.

    cuDNN uses deterministic algorithms while the network runs.

    Args:
        model: a `BCNN`, trained in place.
        device: of the model and its batches. Default: None, a GPU where there is one, else the CPU.
        amp: ``"bfloat16"`` runs the network under autocast; parameters keep their dtype.
            Default: None.
        compile: run the network through `torch.compile`. Default: False.
        name: of a user-defined backbone, as in `save`. Default: None.
        processes: the gradients are summed over them. BatchNorm layers that train normalize by the
            images of their process alone; their statistics are averaged over the images. Default:
            one process.
        shard_classifier: each process has the weights, gradients and state of the optimizer of some
            classes only, see `ShardedClassifier`. Default: False.

    Raises: ValueError for an unavailable device, for another `amp`, and for a classifier that
        cannot be sharded.
    """

    def __init__(
        self,
        model: BCNN,
        *,
        device: str | None = None,
        amp: str | None = None,
        compile: bool = False,
        name: str | tuple[str, str] | None = None,
        processes: Processes | None = None,
        shard_classifier: bool = False,
    ) -> None:
        if amp not in (None, "bfloat16"):
            remedy = "float16 would need a loss scaler, whose state a run does not save."
            refuse(ValueError, "train", "amp must be None or 'bfloat16'", repr(amp), remedy)
        if compile and shard_classifier:
            invariant = "--compile and --shard-classifier cannot be combined"
            refuse(ValueError, "train", invariant, "both", "Leave one of them out.")
        self.device = find_device(device)
        self.processes = processes or Processes()
        self.model = model.to(self.device)
        self.sharded = None
        if shard_classifier:
            from .classifier import ShardedClassifier  # noqa: PLC0415 - slow to import

            self.sharded = ShardedClassifier(self.model, self.processes, self.device)
        self.rows = self.sharded.rows if self.sharded else {}
        self.amp, self.name = amp, name
        self.compiled = compile
        wrap: Any = torch.compile if compile else lambda function: function
        self.call, self.head = wrap(model), wrap(model.logits)
        self.backbones = wrap(model.feature_maps)
        self.gradient: Tensor | None = None
        self.streams = model.streams
        self.num_classes = model.num_classes
        self.preprocessing = model.preprocessing
        self.learned = frozenset(name for name, _ in model.named_parameters())
        self.optimizer: torch.optim.Optimizer | None = None
        self.plan = Plan((), (), frozenset(), 0.0)
        self.averages: dict[str, Tensor] = {}

    def tensors(self) -> dict[str, np.ndarray]:
        own = (self.model.canonical() | self.rows).items()
        return {name: np.array(self._whole(name, value)) for name, value in own}

    def _whole(self, name: str, value: Tensor) -> np.ndarray:
        if self.sharded and name in self.rows and value.dim():
            value = self.sharded.gather(value)
        return as_array(value)

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.model.assign({k: v for k, v in tensors.items() if k not in self.rows})
        with torch.no_grad():
            for name in self.rows.keys() & tensors.keys():
                self.rows[name].copy_(self._own(name, tensors[name]))

    def _own(self, name: str, array: np.ndarray) -> Tensor:
        if self.sharded and name in self.rows and array.ndim:
            array = self.sharded.select(array)
        return as_tensor(np.array(array)).reshape(array.shape).to(self.device)

    def save(self, path: str, **meaning: Any) -> None:
        with self.sharded.replaced() if self.sharded else nullcontext():
            if self.processes.rank == 0:
                save(self.model, path, name=self.name, **meaning)

    def begin(self, plan: Plan) -> None:
        parameters, self.plan = self._parameters(), plan
        if self.processes.count > 1 and plan.statistics:
            text = "BatchNorm layers that train normalize by the images of their process alone"
            warnings.warn(f"{text}: the results differ from those of one process", stacklevel=2)
        for name, parameter in [*self.model.named_parameters(), *self.rows.items()]:
            parameter.requires_grad_(name in plan.trained)
            parameter.grad = None
        self.gradient, self.averages = None, {}
        self.optimizer = make_optimizer(plan, parameters)

    def _parameters(self) -> dict[str, nn.Parameter]:
        """Those that the optimizer updates."""
        return dict(self.model.named_parameters()) | self.rows

    def _set_modes(self) -> None:
        """Training mode, except for BatchNorm layers whose statistics are frozen."""
        self.model.train()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(f"{name}.running_mean" in self.plan.statistics)

    def buffers(self) -> dict[str, np.ndarray]:
        state = {} if self.optimizer is None else self.optimizer.state
        found = {name: dict(state[p]) for name, p in self._parameters().items() if p in state}
        for name, value in self.averages.items():
            found.setdefault(name, {})["average"] = value
        return {
            f"{kind.removesuffix('_buffer')}.{name}": np.array(self._whole(name, value))
            for name, values in found.items()
            for kind, value in values.items()
            if value is not None
        }

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        assert self.optimizer is not None, "begin comes first"
        parameters = self._parameters()
        for key, array in buffers.items():
            kind, _, name = key.partition(".")
            own = "momentum_buffer" if kind == "momentum" else kind
            value = self._own(name, array)
            if kind == "average":
                self.averages[name] = value
                continue
            value = value.float() if kind == "step" else value
            self.optimizer.state[parameters[name]][own] = value

    def average(self, names: Sequence[str], decay: float) -> None:
        own = self.model.canonical() | self.rows
        values = [own[name].detach() for name in names]
        if not decay:
            self.averages = {name: x.clone() for name, x in zip(names, values, strict=True)}
            return
        get_ema_multi_avg_fn(decay)([self.averages[name] for name in names], values, 0)

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._step(lambda part: self.call(self._images(images[part])), labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._step(lambda part: self._classify(self._maps(maps, part)), labels, rates)

    def _classify(self, maps: Sequence[Tensor]) -> Tensor:
        plan = self.plan
        plain = not (self.compiled or self.amp or self.sharded or plan.part)
        if not plain or "classifier.weight" not in plan.trained:
            return self.head(*maps)
        classifier, pooled = self.model.classifier, self.model.pool(*self.model.prepared(maps))
        if self.gradient is None:
            self.gradient = torch.empty_like(classifier.weight)
        return Linear.apply(pooled, classifier.weight, classifier.bias, self.gradient)

    def _step(
        self, forward: Callable[[slice], Tensor], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        assert self.optimizer is not None, "begin comes first"
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._set_modes()
        parameters = self._parameters()
        self.model.zero_grad()
        before = [x.clone() for x in self._statistics()] if self.processes.count > 1 else []
        total = torch.zeros(2, device=self.device)
        parts = split_batch(self.plan, labels, self.processes)
        for part, share in self.sharded.summed(parts) if self.sharded else parts:
            with deterministic(), connected():
                logits = _upcast(self._autocast(functools.partial(forward, part)))
                targets = torch.from_numpy(labels[part]).to(self.device)
                loss = share * self._loss(logits, targets)
                loss.backward()
            correct = (logits.argmax(-1) == targets).sum().to(loss.dtype)
            total = total + torch.stack((loss.detach(), correct))
        if self.processes.count > 1:
            changing = zip(self._statistics(), before, strict=True)
            others = [parameters[name] for name in self.plan.trained if name not in self.rows]
            total = add_over_processes(self.processes, total, len(labels), others, [*changing])
        if self.plan.clip_norm is not None:
            clip = self.sharded.clip if self.sharded else nn.utils.clip_grad_norm_
            clip([parameters[name] for name in self.plan.trained], self.plan.clip_norm)
        begin_momenta(self.optimizer)
        self.optimizer.step()
        loss, correct = total.tolist()
        return loss, int(correct)

    def _statistics(self) -> list[Tensor]:
        tensors = self.model.canonical()
        found = [tensors[name].detach() for name in sorted(self.plan.statistics)]
        return [x for x in found if x.is_floating_point()]

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights, smoothing = self.plan.class_weights, self.plan.label_smoothing
        weight = None if weights is None else logits.new_tensor(weights)
        return F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return self._logits(len(images), lambda: self.call(self._images(images)))

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        return self._logits(len(maps[0]), lambda: self.head(*self._maps(maps)))

    def _logits(self, images: int, forward: Callable[[], Tensor]) -> np.ndarray:
        with self.sharded.gathered() if self.sharded else nullcontext():
            if not images:
                return np.zeros((0, self.num_classes), np.float32)
            return as_array(_upcast(self._run_frozen(forward)))

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        maps = self._run_frozen(lambda: self.backbones(self._images(images)))
        return tuple(as_array(x.movedim(1, -1)) for x in maps)

    def _images(self, images: np.ndarray) -> Tensor:
        x = torch.from_numpy(images).movedim(-1, 1).contiguous().to(self.device)
        return x.to(next(self.model.parameters()).dtype)

    def _maps(self, maps: Sequence[np.ndarray], part: slice = slice(None)) -> list[Tensor]:
        # contiguous as from the backbone: pools are slower on channels last
        return [as_tensor(x[part]).to(self.device).movedim(-1, 1).contiguous() for x in maps]

    def _autocast(self, forward: Callable[[], Any]) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp is not None):
            return forward()

    def _run_frozen(self, forward: Callable[[], Any]) -> Any:
        self.model.eval()
        with torch.no_grad(), deterministic():
            return self._autocast(forward)

    def environment(self) -> dict[str, Any]:
        device = str(self.device)
        if self.device.type == "cuda":
            device = f"{device}, {torch.cuda.get_device_name(self.device)}"
        return {
            "framework": "torch",
            "version": torch.__version__,
            "device": device,
            "amp": self.amp,
            "compile": self.compiled,
            "precision": precision(),
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
            "processes": self.processes.count,
            "shard_classifier": self.sharded is not None,
            "cudnn": torch.backends.cudnn.version() if self.device.type == "cuda" else None,
        }


def _upcast(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
