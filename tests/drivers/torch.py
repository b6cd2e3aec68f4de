"""PyTorch, as the tests see it."""

import functools
from typing import Any

import ml_dtypes
import numpy as np
import torch

import bilinear.torch as door

DEVICE = "cpu"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

torch.set_num_threads(2)
torch._dynamo.config.recompile_limit = 64  # one function meets every dtype and shape here
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True


def to_tensor(x: np.ndarray) -> torch.Tensor:
    """Shares the memory of `x`, strides included, where the device is the CPU."""
    x = x if x.flags.writeable else x.copy(order="K")
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(DEVICE)
    return torch.from_numpy(x).to(DEVICE)


def to_array(t: torch.Tensor) -> np.ndarray:
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def _channels_first(maps: np.ndarray) -> torch.Tensor:
    return to_tensor(maps).movedim(-1, 1)


@functools.cache
def _compiled(function: Any) -> Any:
    return torch.compile(function, fullgraph=True, dynamic=None)


class Torch:
    name = "torch"
    modes = ("eager", "compiled")
    layouts = ("contiguous", "channels_last")

    def _function(self, op, mode):
        function = getattr(door, op)
        return _compiled(function) if mode == "compiled" else function

    def _options(self, options):
        return {k: to_tensor(v) if k == "mask" else v for k, v in options.items()}

    def forward(self, op, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a) for a in arrays]
        return to_array(self._function(op, mode)(*tensors, **self._options(options)))

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a).requires_grad_() for a in arrays]
        result = self._function(op, mode)(*tensors, **self._options(options))
        return tuple(map(to_array, torch.autograd.grad(result, tensors, to_tensor(cotangent))))

    def layer(self, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        pool = door.BilinearPool(**parameters or {})
        pool = torch.compile(pool, fullgraph=True) if mode == "compiled" else pool
        memory = LAYOUTS[layout or "contiguous"]
        tensors = []
        for array in maps:
            tensor = _channels_first(array)
            tensor = tensor.contiguous(memory_format=memory) if tensor.ndim == 4 else tensor
            tensors.append(tensor.detach().requires_grad_())
        keep = None if mask is None else to_tensor(mask)
        result = pool(*tensors, mask=keep)
        gradients = torch.autograd.grad(result, tensors, to_tensor(cotangent))
        return to_array(result), tuple(to_array(g.movedim(1, -1)) for g in gradients)

    def model(self, backbone, num_classes, **options):
        return door.BCNN(backbone, num_classes, **options).to(DEVICE)

    def logits(self, model, images, *, training=False):
        model.train(training)
        with torch.no_grad():
            return to_array(model(_channels_first(images)))

    def descriptors(self, model, images):
        with torch.no_grad():
            return to_array(model.eval().descriptors(_channels_first(images)))

    def feature_maps(self, model, images):
        with torch.no_grad():
            maps = model.eval().feature_maps(_channels_first(images))
        return tuple(to_array(m.movedim(1, -1)) for m in maps)

    def gradients(self, model, images, cotangent, *, training):
        model.train(training)
        x = _channels_first(images).requires_grad_()
        names, parameters = zip(*model.named_parameters(), strict=True)
        logits = model(x)
        *by_name, dx = torch.autograd.grad(logits, [*parameters, x], to_tensor(cotangent))
        gradients = dict(zip(names, map(to_array, by_name), strict=True))
        return to_array(logits), gradients, to_array(dx.movedim(1, -1))

    def tensors(self, model):
        state = model.state_dict()
        return {k: to_array(v) for k, v in state.items() if "num_batches_tracked" not in k}

    def sgd_step(self, model, images, labels, state, *, lr, momentum=0.0, weight_decay=0.0):
        if state is None:
            state = torch.optim.SGD(
                model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
            )
        for group in state.param_groups:
            group["lr"] = lr
        model.train()
        state.zero_grad()
        logits = model(_channels_first(images))
        torch.nn.functional.cross_entropy(logits, to_tensor(labels)).backward()
        state.step()
        return state

    def momentum(self, model, state):
        return {name: state.state[p]["momentum_buffer"] for name, p in model.named_parameters()}

    def save(self, model, path, **options):
        door.save(model, path, **options)

    def load(self, path, **options):
        return door.load(path, **options)


DRIVER = Torch()
