"""Processes that `torch.distributed` connects."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from ..._require import require

require("torch")

import numpy as np
import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from ...contract import refuse
from . import Processes, lost_process

LONGEST_WAIT = timedelta(days=1)
"""Process 0 can compute a feature cache for hours while the others wait. The end of a process is
noticed at once."""


@contextmanager
def join(device: str | None) -> Iterator[Processes]:
    """Arrays pass through gloo, gradients on GPUs through NCCL."""
    on_gpu = torch.cuda.is_available() if device is None else device.startswith("cuda")
    if on_gpu:
        _select_gpu(device)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    store, rank, count = next(rendezvous("env://"))
    group = {"store": store, "rank": rank, "world_size": count, "timeout": LONGEST_WAIT}
    distributed.init_process_group(backend, **group)

    def fails_first() -> bool:
        try:
            return store.add("bilinear: failed processes", 1) == 1
        except RuntimeError:  # the process that has the store has ended
            return rank == 0

    yield Processes(rank, count, _add, fails_first)
    distributed.destroy_process_group()


def _select_gpu(device: str | None) -> None:
    """Make the GPU of this process PyTorch's default."""
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device not in (None, "cuda") or local >= gpus:
        invariant = "each process must have one GPU, which --device cuda selects"
        remedy = "Start as many processes on a machine as it has GPUs, or use --device cpu."
        refuse(ValueError, "train", invariant, f"{gpus} GPUs, device {device}", remedy)
    torch.cuda.set_device(local)


def _add(values: np.ndarray) -> np.ndarray:
    total = torch.from_numpy(np.array(values))
    add_tensors([total])
    return total.numpy()


def add_tensors(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes.

    Raises: ConnectionError if another process has ended.
    """
    with connected():
        for work in [distributed.all_reduce(x, async_op=True) for x in tensors]:
            assert work is not None, "this process is in the group"
            work.wait()


@contextmanager
def connected() -> Iterator[None]:
    """Raises: ConnectionError where the block exchanges data with a process that has ended."""
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in f"{error}" and not isinstance(error, distributed.DistError):
            raise
        raise lost_process() from error
