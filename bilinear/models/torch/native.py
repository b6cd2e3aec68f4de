"""PyTorch's own file of a B-CNN: its ``state_dict``."""

import torch

from ..._files import replace_file
from ...contract import Spec
from ..imports import read_saved, state_tensors
from ..tensorfile import check_layout, spec
from .bcnn import BCNN
from .imports import read_pth


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """``torch.save(model.state_dict(), path)``, whole or not at all."""
    with replace_file(path) as temporary:
        torch.save(model.state_dict(), temporary)


def read_native(op: str, path: str, form: str, model: BCNN) -> BCNN:
    """`model`, filled with a ``state_dict``; nothing pickled is trusted."""
    found = state_tensors(op, read_saved(op, path, read_pth))
    expected = {
        name: Spec(tensor.shape, f"{tensor.dtype}".removeprefix("torch."))
        for name, tensor in model.canonical().items()
    }
    remedy = "The state_dict must be of the model that the portable file describes."
    check_layout(op, {name: spec(array) for name, array in found.items()}, expected, remedy)
    model.assign(found)
    return model
