"""Devices, and the settings of PyTorch that affect the results of training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ...contract import refuse


def find_device(name: str | None) -> torch.device:
    """The device of this name; None: a GPU where there is one, else the CPU.

    Raises: ValueError for a device that PyTorch cannot use on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # differs by device type
        received = f"{name!r} ({' '.join(str(error).split())[:80]})"
        invariant = "device must be one that this PyTorch can use on this machine"
        refuse(ValueError, "train", invariant, received, "Use 'cpu', or leave it out.")
    return device


@contextmanager
def deterministic() -> Iterator[None]:
    """Make cuDNN deterministic. `torch.backends.cudnn.flags` would disable it and enable TF32."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def precision() -> dict[str, Any]:
    """The settings of float32 products. PyTorch 2.9 renamed them; once a new name was set, it
    refuses to read the old ones."""
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
