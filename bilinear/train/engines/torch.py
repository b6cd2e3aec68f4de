"""The PyTorch engine."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._require import require

require("torch")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...contract import refuse
from ...models.torch.bcnn import BCNN, save
from ...models.torch.framework import from_numpy as as_tensor
from ...models.torch.framework import to_numpy as as_array
from ...models.torch.settings import deterministic, find_device, precision
from ..parameter_groups import Plan
from ..processes import Processes
from .parts import split_batch
from .torch_processes import add_over_processes

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

    Raises: ValueError for an unavailable device, and for another `amp`.
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
    ) -> None:
        if amp not in (None, "bfloat16"):
            remedy = "float16 would need a loss scaler, whose state a run does not save."
            refuse(ValueError, "train", "amp must be None or 'bfloat16'", repr(amp), remedy)
        self.device = find_device(device)
        self.processes = processes or Processes()
        self.model = model.to(self.device)
        self.amp = amp
        self.assign, self.name = model.assign, name
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
        return {name: np.array(as_array(value)) for name, value in self.model.canonical().items()}

    def save(self, path: str, **meaning: Any) -> None:
        if self.processes.rank == 0:
            save(self.model, path, name=self.name, **meaning)

    def begin(self, plan: Plan) -> None:
        parameters, self.plan = dict(self.model.named_parameters()), plan
        if self.processes.count > 1 and plan.statistics:
            text = "BatchNorm layers that train normalize by the images of their process alone"
            warnings.warn(f"{text}: the results differ from those of one process", stacklevel=2)
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in plan.trained)
            parameter.grad = None
        groups = [
            {"params": [parameters[name] for name in names], "weight_decay": decay}
            for names, decay in zip(plan.groups, plan.decays, strict=True)
        ]
        self.gradient, self.averages = None, {}
        if plan.adamw is None:
            self.optimizer = torch.optim.SGD(groups, momentum=plan.momentum, fused=True)
        else:
            beta1, beta2, epsilon = plan.adamw
            options: Any = {"betas": (beta1, beta2), "eps": epsilon}
            self.optimizer = torch.optim.AdamW(groups, fused=True, **options)

    def _set_modes(self) -> None:
        """Training mode, except for BatchNorm layers whose statistics are frozen."""
        self.model.train()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(f"{name}.running_mean" in self.plan.statistics)

    def buffers(self) -> dict[str, np.ndarray]:
        state = {} if self.optimizer is None else self.optimizer.state
        found = {name: state[p] for name, p in self.model.named_parameters() if p in state}
        averages = {f"average.{name}": value for name, value in self.averages.items()}
        own = averages | {
            f"{kind.removesuffix('_buffer')}.{name}": value
            for name, values in found.items()
            for kind, value in values.items()
            if value is not None
        }
        return {name: np.array(as_array(value)) for name, value in own.items()}

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        assert self.optimizer is not None, "begin comes first"
        parameters = dict(self.model.named_parameters())
        for key, array in buffers.items():
            kind, _, name = key.partition(".")
            own = "momentum_buffer" if kind == "momentum" else kind
            value = torch.from_numpy(np.array(array)).to(self.device)
            if kind == "average":
                self.averages[name] = value
                continue
            value = value.float() if kind == "step" else value
            self.optimizer.state[parameters[name]][own] = value

    def average(self, names: Sequence[str], decay: float) -> None:
        own = self.model.canonical()
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
        if self.compiled or self.amp or plan.part or "classifier.weight" not in plan.trained:
            return self.head(*maps)
        classifier, pooled = self.model.classifier, self.model.pool(*self.model.prepared(maps))
        if self.gradient is None:
            self.gradient = torch.empty_like(classifier.weight)
        return _Linear.apply(pooled, classifier.weight, classifier.bias, self.gradient)

    def _step(
        self, forward: Callable[[slice], Tensor], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        assert self.optimizer is not None, "begin comes first"
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._set_modes()
        self.optimizer.zero_grad()
        before = [x.clone() for x in self._statistics()] if self.processes.count > 1 else []
        total = torch.zeros(2, device=self.device)
        for part, share in split_batch(self.plan, labels, self.processes):
            with deterministic():
                logits = _upcast(self._autocast(functools.partial(forward, part)))
                targets = torch.from_numpy(labels[part]).to(self.device)
                loss = share * self._loss(logits, targets)
                loss.backward()
            correct = (logits.argmax(-1) == targets).sum().to(loss.dtype)
            total = total + torch.stack((loss.detach(), correct))
        if self.processes.count > 1:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            changing = zip(self._statistics(), before, strict=True)
            total = add_over_processes(self.processes, total, len(labels), trained, [*changing])
        if self.plan.clip_norm is not None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.plan.clip_norm)
        self._begin_momenta(self.optimizer)
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

    def _begin_momenta(self, optimizer: torch.optim.Optimizer) -> None:
        """Start the momentum of a parameter at 0 where its first gradient comes after that of
        others in its group: the fused SGD refuses such a group."""
        for group in optimizer.param_groups if self.plan.momentum else ():
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            new = [p for p in updated if optimizer.state[p].get("momentum_buffer") is None]
            for parameter in new if len(new) < len(updated) else ():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return self._logits(len(images), lambda: self.call(self._images(images)))

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        return self._logits(len(maps[0]), lambda: self.head(*self._maps(maps)))

    def _logits(self, images: int, forward: Callable[[], Tensor]) -> np.ndarray:
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
            "threads": torch.get_num_threads(),
            "processes": self.processes.count,
            "cudnn": torch.backends.cudnn.version() if self.device.type == "cuda" else None,
        }


def _upcast(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


class _Linear(torch.autograd.Function):
    """A linear layer with one buffer for its weight gradient, which takes long to allocate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.gradient = gradient
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        weight.grad = torch.mm(slope.mT, x, out=ctx.gradient)
        of_x = slope @ weight if ctx.needs_input_grad[0] else None
        return of_x, None, slope.sum(0) if ctx.needs_input_grad[2] else None, None
