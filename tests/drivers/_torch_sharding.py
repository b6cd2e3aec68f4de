"""The layers in two processes, under DistributedDataParallel or `fully_shard`."""

import datetime
import os

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from .torch import DRIVER, namespace, to_array, to_tensor


class Weighted(torch.nn.Module):
    """A layer with one more weight, 1: DistributedDataParallel refuses modules without weights."""

    def __init__(self, pool, dtype):
        super().__init__()
        self.pool, self.weight = pool, torch.nn.Parameter(torch.ones(1, dtype=dtype))

    def forward(self, *maps, mask):
        return self.pool(*maps, mask=mask) * self.weight


def start(rank, store):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        f"file://{store}",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )


def layer(engine, name, cotangent, maps, mask, parameters):
    """Return descriptors and gradients of half of the batch, and summed gradients of weights."""
    cotangent, *tensors = (
        DRIVER.to_native_map(np.array_split(array, 2)[distributed.get_rank()])
        for array in (cotangent, *maps)
    )
    keep = None if mask is None else to_tensor(np.array_split(mask, 2)[distributed.get_rank()])
    pool = getattr(namespace, name)(**parameters).to(cotangent.dtype)
    model = Weighted(pool, cotangent.dtype)
    if engine == "torch-ddp":
        model = DistributedDataParallel(model)
    else:
        empty = {p for p in pool.parameters() if p.numel() == 0}  # PyTorch cannot reduce them
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)), ignored_params=empty)
    result = model(*[t.requires_grad_() for t in tensors], mask=keep)
    result.backward(cotangent)
    means = [parameter.grad for _, parameter in sorted(pool.named_parameters())]
    means = [mean.full_tensor() if isinstance(mean, DTensor) else mean for mean in means]
    of_maps = [to_array(t.grad.movedim(1, -1)) for t in tensors]
    return to_array(result), (of_maps, [to_array(2 * mean) for mean in means])
