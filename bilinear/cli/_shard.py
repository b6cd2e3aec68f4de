"""The shard of a process: ``--shard I/N``, or from the variables that launchers set."""

import os
import re

from ..contract import refuse

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)


def parse_shard(text: str) -> tuple[int, int]:
    """The number of the shard, from 0, and the number of shards. ``auto`` also selects the GPU.

    Raises: ValueError for other text, or for ``auto`` without the variables of a launcher.
    """
    requirement = "--shard must be I/N with 0 ≤ I < N, or auto"
    if text == "auto":
        variables = next((names for names in _LAUNCHERS if os.environ.keys() >= {*names}), None)
        if variables is None:
            received = "auto without the variables of torchrun or srun"
            refuse(ValueError, "bilinear", requirement, received, "Pass --shard 0/8, for example.")
        rank, count, local = (os.environ[name] for name in variables)
        text = f"{rank}/{count}"
        _select_gpu(local)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not found or not int(found[1]) < int(found[2]):
        refuse(ValueError, "bilinear", requirement, repr(text), "The first of 8 shards is 0/8.")
    return int(found[1]), int(found[2])


def _select_gpu(local: str) -> None:
    """Let the framework, which is not imported yet, see only the GPU of this process."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", local).split(",")
    if local.isdecimal():
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[int(local) % len(devices)]
