"""PyTorch: ours eager, the published formula eager and compiled, and the floor."""

import functools
import importlib

import numpy as np
import torch

from .calls import ELEMENTWISE, Size, make_call
from .torch_formulas import FORMULAS

namespace = importlib.import_module("bilinear.torch")
VERSION = f"torch {torch.__version__}"
OURS, EAGER, COMPILED, FLOOR = "ours", "formula", "formula, torch.compile", "floor"
BEST = {OURS: (OURS,), COMPILED: (COMPILED,)}
torch._dynamo.config.fail_on_recompile_limit_hit = True  # instead of running eagerly


def runs(op: str, size: Size, dtype: str, gradient: bool, device: str) -> dict:
    """Name -> a call that waits for its result."""
    found = calls(op, size, dtype, gradient, device)
    return {name: _wait(call, device) for name, call in found.items()}


def calls(op: str, size: Size, dtype: str, gradient: bool, device: str) -> dict:
    """Name -> a call that returns the result, or the gradients of the arrays."""
    call, kind = make_call(op, size), getattr(torch, dtype)
    *arrays, cotangent = (
        torch.from_numpy(a).to(device, kind) for a in (*call.arrays, call.cotangent)
    )
    options = _tensors(call.options, device)

    def projected(f):
        if call.projection is None:
            return f
        weight = torch.from_numpy(call.projection).to(device, kind)
        return lambda *maps: f(*(m @ weight for m in maps))

    def forward(f):
        with torch.no_grad():
            return f(*arrays)

    def both(f):
        leaves = [a.detach().requires_grad_() for a in arrays]
        return torch.autograd.grad(f(*leaves), leaves, cotangent)

    def floor():
        if not call.product:  # one read and one write
            return [arrays[0] + cotangent if gradient else arrays[0].clone()]
        x, y = arrays[0], arrays[-1]
        results = [torch.bmm(x.mT, y)]
        if gradient:
            g = cotangent.view(results[0].shape)
            results.append(torch.bmm(y, g.mT))
            results += [torch.bmm(x, g)] if len(arrays) == 2 else []
        return results

    run = both if gradient else forward
    weights = [torch.from_numpy(w).to(device, kind) for w in call.weights]
    ours = functools.partial(getattr(namespace, op), **options)
    if call.layer is not None:
        pool = getattr(namespace, op)(**call.layer).to(device, kind).requires_grad_(False)

        def ours(*maps):
            return pool(*(m.mT for m in maps))  # (N, C, L)

    def formula(*arrays):
        return FORMULAS[op](*arrays, *weights, **options)

    torch.compiler.reset()  # all formulas share one code object and its recompile limit
    own, published = projected(ours), projected(formula)
    compiled = torch.compile(published)
    found = {
        OURS: lambda: run(own),
        EAGER: lambda: run(published),
        COMPILED: lambda: run(compiled),
    }
    if call.product or op in ELEMENTWISE:
        found[FLOOR] = floor
    return found


def bytes_held(op: str, size: Size, dtype: str, own: bool) -> int:
    """Bytes of the distinct storages that autograd saves, including the inputs."""
    call = make_call(op, size)
    arrays = [torch.from_numpy(a).to(getattr(torch, dtype)) for a in call.arrays]
    arrays = [a.requires_grad_() for a in arrays]
    f = functools.partial(
        getattr(namespace, op) if own else FORMULAS[op], **_tensors(call.options, "cpu")
    )
    storages = {}

    def pack(t):
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = f(*arrays)
    assert result.requires_grad
    return sum(storages.values())


def threads(count: int) -> None:
    torch.set_num_threads(count)


def gpu() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _tensors(options, device):
    """Convert masks and tables to tensors."""

    def tensor(value):
        if isinstance(value, bool | int):
            return value
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value).to(device)
        return type(value)(*map(tensor, value))

    return {name: tensor(value) for name, value in options.items()}


def _wait(call, device):
    if device == "cpu":
        return call

    def waiting():
        result = call()
        torch.cuda.synchronize()
        return result

    return waiting
