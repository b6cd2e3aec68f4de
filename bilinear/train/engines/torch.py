"""The PyTorch engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..._require import require

require("torch")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...contract import refuse
from ...data.images import Preprocessing
from ...models.torch.bcnn import BCNN
from ...models.torch.files import save
from ...models.torch.framework import from_numpy as as_tensor
from ...models.torch.framework import to_numpy as as_array
from ..parts import Plan

__all__ = ["BCNN", "Engine"]


class Engine:
    """`Engine` of `bilinear.train.engines`, by `torch.optim.SGD`.

    Args:
        model: a `BCNN`, which is trained in place.
        device: of the model and its batches; None is a GPU where there is one.
        amp: ``"bfloat16"`` runs the network under autocast; parameters keep their dtype.
        compile: run the network through `torch.compile`.
        name: of a backbone of your own, as `save` takes it.

    Raises: ValueError for a device that is not there, and for another `amp`.

    On GPUs cuDNN is held to its deterministic algorithms while the network runs.
    """

    def __init__(
        self,
        model: BCNN,
        *,
        device: str | None = None,
        amp: str | None = None,
        compile: bool = False,
        name: str | tuple[str, str] | None = None,
    ) -> None:
        if amp not in (None, "bfloat16"):
            remedy = "float16 would need a scaler of the loss, which no run could be resumed with."
            refuse(ValueError, "train", "amp must be None or 'bfloat16'", repr(amp), remedy)
        self.device = _device(device)
        self.model = model.to(self.device)
        self.amp = amp
        self.name = name
        self.compiled = compile
        made: Any = torch.compile if compile else lambda function: function
        self.call, self.head = made(model), made(model.logits)
        self.backbones = made(model.feature_maps)
        self.space: Tensor | None = None
        self.streams = model.streams
        self.num_classes = model.num_classes
        self.preprocessing = model.preprocessing
        self.learned = frozenset(name for name, _ in model.named_parameters())
        self.optimizer: torch.optim.SGD | None = None
        self.plan = Plan((), (), frozenset(), 0.0)

    def tensors(self) -> dict[str, np.ndarray]:
        return {name: np.array(as_array(value)) for name, value in self.model.canonical().items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.model.assign(tensors)

    def begin(self, plan: Plan) -> None:
        parameters, self.plan = dict(self.model.named_parameters()), plan
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in plan.trained)
            parameter.grad = None
        groups = [
            {"params": [parameters[name] for name in names], "weight_decay": decay}
            for names, decay in zip(plan.groups, plan.decays, strict=True)
        ]
        self.space = None
        self.optimizer = torch.optim.SGD(groups, momentum=plan.momentum, fused=True)

    def _set_modes(self) -> None:
        """Training mode, but for the BatchNorms whose statistics stay."""
        self.model.train()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(f"{name}.running_mean" in self.plan.statistics)

    def buffers(self) -> dict[str, np.ndarray]:
        state = {} if self.optimizer is None else self.optimizer.state
        found = {name: state[p] for name, p in self.model.named_parameters() if p in state}
        return {
            name: np.array(as_array(values["momentum_buffer"]))
            for name, values in found.items()
            if values.get("momentum_buffer") is not None
        }

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        assert self.optimizer is not None, "begin comes first"
        for name, parameter in self.model.named_parameters():
            if name in buffers:
                buffer = torch.from_numpy(np.array(buffers[name]))
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.to(self.device)

    def train_step(self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]) -> float:
        return self._step(lambda: self.call(self._images(images)), labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        return self._step(lambda: self._classified(self._maps(maps)), labels, rates)

    def _classified(self, maps: Sequence[Tensor]) -> Tensor:
        if self.compiled or self.amp or "classifier.weight" not in self.plan.trained:
            return self.head(*maps)
        classifier, pooled = self.model.classifier, self.model.pool(*self.model.prepared(maps))
        if self.space is None:
            self.space = torch.empty_like(classifier.weight)
        return _Linear.apply(pooled, classifier.weight, classifier.bias, self.space)

    def _step(
        self, forward: Callable[[], Tensor], labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        assert self.optimizer is not None, "begin comes first"
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._set_modes()
        self.optimizer.zero_grad()
        with _deterministic():
            logits = _wide(self._autocast(forward))
            loss = F.cross_entropy(logits, torch.from_numpy(labels).to(self.device))
            loss.backward()
        self._begin_momenta(self.optimizer)
        self.optimizer.step()
        return loss.item()

    def _begin_momenta(self, optimizer: torch.optim.SGD) -> None:
        """At 0 for parameters whose first gradient comes after that of others in their group, of
        which a fused SGD makes an error."""
        for group in optimizer.param_groups if self.plan.momentum else ():
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            new = [p for p in moved if optimizer.state[p].get("momentum_buffer") is None]
            for parameter in new if len(new) < len(moved) else ():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        logits = self._evaluated(lambda: self.call(self._images(images)))
        return as_array(_wide(logits))

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        return as_array(_wide(self._evaluated(lambda: self.head(*self._maps(maps)))))

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        maps = self._evaluated(lambda: self.backbones(self._images(images)))
        return tuple(as_array(x.movedim(1, -1)) for x in maps)

    def _images(self, images: np.ndarray) -> Tensor:
        x = torch.from_numpy(images).movedim(-1, 1).contiguous().to(self.device)
        return x.to(next(self.model.parameters()).dtype)

    def _maps(self, maps: Sequence[np.ndarray]) -> list[Tensor]:
        # as the backbone gives them: pools are slower on channels last
        return [as_tensor(x).to(self.device).movedim(-1, 1).contiguous() for x in maps]

    def _autocast(self, forward: Callable[[], Any]) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp is not None):
            return forward()

    def _evaluated(self, forward: Callable[[], Any]) -> Any:
        self.model.eval()
        with torch.no_grad(), _deterministic():
            return self._autocast(forward)

    def save(
        self, path: str, *, classes: Sequence[str] | None, preprocessing: Preprocessing | None
    ) -> None:
        save(self.model, path, classes=classes, preprocessing=preprocessing, name=self.name)

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
            "precision": _precision(),
            "threads": torch.get_num_threads(),
            "cudnn": torch.backends.cudnn.version() if self.device.type == "cuda" else None,
        }


def _device(name: str | None) -> torch.device:
    """Raises: ValueError for one on which PyTorch has nothing to put here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # each kind has its own
        received = f"{name!r} ({' '.join(str(error).split())[:80]})"
        invariant = "device must be one that this PyTorch has, on this machine"
        refuse(ValueError, "train", invariant, received, "Use 'cpu', or leave it out.")
    return device


@contextmanager
def _deterministic() -> Iterator[None]:
    """cuDNN as it is set, but deterministic. PyTorch's own `flags` would switch it off, and TF32
    on, whatever was asked for."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def _precision() -> dict[str, Any]:
    """The switches of float32 products. PyTorch 2.9 renames them, and where one was set by its new
    name refuses to tell the old ones."""
    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        products = torch.get_float32_matmul_precision()
        return {"cudnn.allow_tf32": backends.cudnn.allow_tf32, "matmul": products}
    of = {
        "cuda.matmul": backends.cuda.matmul,
        "cudnn.conv": backends.cudnn.conv,
        "mkldnn.matmul": backends.mkldnn.matmul,
        "mkldnn.conv": backends.mkldnn.conv,
    }
    return {name: switch.fp32_precision for name, switch in of.items()}


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


class _Linear(torch.autograd.Function):
    """A linear layer whose weight's gradient is written where the last one was, and not summed up.

    A classifier of 262,144 entries has gradients of hundreds of megabytes: to be given new memory
    for each would cost more than the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, space: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.space = space
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        weight.grad = torch.mm(slope.mT, x, out=ctx.space)
        of_x = slope @ weight if ctx.needs_input_grad[0] else None
        return of_x, None, slope.sum(0) if ctx.needs_input_grad[2] else None, None
