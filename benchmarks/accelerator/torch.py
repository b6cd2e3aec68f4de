"""What the check needs of PyTorch: settings, times, memory, results of models."""

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .. import torch as subject
from ..machine import processor

namespace = importlib.import_module("bilinear.torch")
LABEL = "torch"
POINTS = {"eager": 3, "compiled": 1}
"""Number of singular points that `parity` compares in each mode, the faster mode first."""
HALF = "autocast to bfloat16"


def name(device: str) -> str | None:
    """Name of the device, or None if PyTorch does not find it."""
    return processor() if device == "cpu" else subject.gpu()


def describe() -> str:
    """Versions of PyTorch and its libraries, and the memory of the GPU."""
    found = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return found
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    cudnn = torch.backends.cudnn.version()
    return f"{found}, CUDA {torch.version.cuda}, cuDNN {cudnn}, {memory:.0f} GiB"


@contextlib.contextmanager
def precision(arithmetic: str) -> Iterator[None]:
    """Allow TensorFloat-32 for float32 products if `arithmetic` names it, otherwise not."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, "TF32" in arithmetic
    try:
        yield
    finally:
        matmul.allow_tf32 = before


@contextlib.contextmanager
def no_synchronisation(device: str) -> Iterator[None]:
    """Raise an error when a call waits for the GPU."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def wait(result: object) -> None:
    del result
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], repeat: int) -> float:
    """Mean seconds of a call: between CUDA events, or by the wall clock on a CPU."""
    if not torch.cuda.is_available():
        begin = time.perf_counter()
        for _ in range(repeat):
            run()
        return (time.perf_counter() - begin) / repeat
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeat):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeat


def peak(run: Callable[[], object]) -> int | None:
    """Peak bytes that a call allocates on the GPU beyond its inputs; None on a CPU."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def devices(result: Any) -> set[str]:
    """The kinds of device that hold the tensors of a result."""
    return {t.device.type for t in ([result] if isinstance(result, torch.Tensor) else result)}


def copy(count: int, device: str) -> Callable[[], object]:
    """A call that reads and writes `count` float32 values."""
    x = torch.ones(count, device=device)
    y = torch.empty_like(x)
    return lambda: y.copy_(x)


def product(size: int, dtype: str, device: str) -> Callable[[], object]:
    """A call that multiplies two matrices of random values."""
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    return lambda: a @ b


def model(streams: list[str], dtype: str, gradient: bool, pixels: int, device: str) -> Callable:
    """A call that returns the logits, or the gradients of all parameters."""
    net = namespace.BCNN(streams[0], 3, backbone_b=(*streams, None)[1], dtype=dtype, device=device)
    x = torch.ones(2, 3, pixels, pixels, dtype=getattr(torch, dtype), device=device)
    parameters = list(net.train(gradient).parameters())

    def run():
        with torch.set_grad_enabled(gradient):
            logits = net(x)
        return torch.autograd.grad(logits.sum(), parameters) if gradient else logits

    return run
