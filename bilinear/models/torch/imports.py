"""Checkpoints of other code as B-CNNs in PyTorch."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...backends.torch._presets import preset
from ..imports import read_import
from ..layouts import Backbones, Layout
from .bcnn import BCNN, as_array


def import_checkpoint(
    path: str | os.PathLike,
    layout: str | Layout,
    *,
    backbone: Backbones | None = None,
    num_classes: int | None = None,
) -> BCNN:
    """A B-CNN trained by other code, in evaluation mode: the same function of the same images.

    Args:
        path: what that code saved (``.pth``, ``.pt``, ``.tar``; no pickled object is trusted), or
            its tensors as ``.safetensors``.
        layout: ``"umass"``, ``"umass-improved"``, ``"umass-democratic"``, ``"haomood"`` or
            ``"fast-mpn-bcnn"``, by the code that trained it, or a
            `bilinear.models.layouts.Layout` that describes another.
        backbone: where the code can have several, which one it is (a pair for two streams); None
            takes the one whose names the file has.
        num_classes: checked against the file; None takes the file's.

    `preprocessing` is that of the code's test images; `classes` stays None, for no such file
        names them.
    Raises: ValueError naming file and tensor for a checkpoint of another layout (and which one
        it fits), or whose tensors are missing, unknown, misshapen or not finite, and for
        ``"hawkeye"``, whose network differs; OSError where the file cannot be read.
    """
    found = read_import(
        path,
        layout,
        backbone,
        num_classes,
        make_pool=lambda name, _: preset(name),
        read_pth=read_pth,
    )
    model = BCNN(**found.arguments)
    model.assign(found.tensors)
    model.preprocessing = found.preprocessing
    return model.eval()


def read_pth(path: str) -> Any:
    """What `torch.save` wrote, its tensors as NumPy arrays; nothing pickled is trusted."""
    return _arrays(torch.load(path, map_location="cpu", weights_only=True))


def _arrays(saved: Any) -> Any:
    """What was saved, its tensors as NumPy arrays."""
    if isinstance(saved, Mapping):
        return {name: _arrays(value) for name, value in saved.items()}
    return as_array(saved) if isinstance(saved, Tensor) else saved
