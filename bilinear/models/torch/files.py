"""Saving and loading a PyTorch B-CNN as the portable file."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ...contract import Spec
from ...data.images import File, Preprocessing
from ...data.images import load_image as load_array
from ..checkpoint import check_streams, read_description
from ..portable import fill, model_arguments, pool_of, save_model
from .bcnn import BCNN, as_array, as_tensor
from .pool import maker


def save(
    model: BCNN,
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    momentum: Mapping[str, Tensor] | None = None,
    name: str | tuple[str, str] | None = None,
) -> None:
    """Write `model` as one file that every door of `bilinear` opens with the same predictions.

    Args:
        classes: names of the classes in order; None writes ``model.classes``.
        preprocessing: of the images; None writes ``model.preprocessing``.
        momentum: canonical parameter name -> SGD buffer (``optimizer.state[p]
            ["momentum_buffer"]`` for the parameters of ``model.canonical()``).
        name: of a backbone of your own (a pair for two); such a file opens only in PyTorch.

    The file appears whole or not at all. Raises: ValueError for tensors that are not finite,
        classes that do not fit, or momentum of no parameter; OSError where it cannot be written.
    """
    tensors = {key: as_array(value) for key, value in model.canonical().items()}
    buffers = None if momentum is None else {k: as_array(v) for k, v in momentum.items()}
    save_model(
        "torch",
        model,
        path,
        tensors,
        momentum=buffers,
        classes=classes,
        preprocessing=preprocessing,
        name=name,
    )


@overload
def load(
    path: str | os.PathLike,
    *,
    backbone: nn.Module | None = None,
    backbone_b: nn.Module | None = None,
    momentum: Literal[False] = False,
) -> BCNN: ...
@overload
def load(
    path: str | os.PathLike,
    *,
    backbone: nn.Module | None = None,
    backbone_b: nn.Module | None = None,
    momentum: Literal[True],
) -> tuple[BCNN, dict[str, Tensor]]: ...
def load(
    path: str | os.PathLike,
    *,
    backbone: nn.Module | None = None,
    backbone_b: nn.Module | None = None,
    momentum: bool = False,
) -> Any:
    """The model of a file, rebuilt from the file alone, in evaluation mode.

    Args:
        backbone, backbone_b: modules of the architecture the file was saved with, where its
            backbones are the user's own. They are copied, not changed.
        momentum: also return the SGD buffers, by canonical parameter name.

    Raises: ValueError naming the file and the tensor for a file that is truncated, foreign, of a
        newer format, or not exactly what its description says; OSError where it cannot be read.
    """
    description = read_description(path)
    check_streams(
        path,
        description,
        "torch",
        backbone=backbone is not None,
        backbone_b=backbone_b is not None,
    )
    own = {"backbone": copy.deepcopy(backbone), "backbone_b": copy.deepcopy(backbone_b)}
    pool = pool_of(path, description, maker(description.dtype))
    model = BCNN(**model_arguments(description, **own), pool=pool)
    expected = {
        key: Spec(value.shape, str(value.dtype).removeprefix("torch."))
        for key, value in model.canonical().items()
    }
    model.eval()
    return fill(model, path, description, expected, momentum, lambda _, value: as_tensor(value))


def load_image(file: File, preprocessing: Preprocessing) -> Tensor:
    """An image file as the batch of one, (1, 3, H, W), that a model takes.

    Raises: ValueError naming the file where it is not a whole image of a sensible size.
    """
    array = load_array(file, preprocessing)
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()
