"""PyTorch's own file of a B-CNN: its ``state_dict``."""

import torch

from ..._files import replace_file
from ..state_dict import read_saved, state_tensors
from ..tensorfile import check_layout, spec
from . import framework
from .bcnn import BCNN


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """Call ``torch.save(model.state_dict(), path)``, atomically."""
    with replace_file(path) as temporary:
        torch.save(model.state_dict(), temporary)


def read_native(op: str, path: str, form: str, model: BCNN) -> BCNN:
    """Return `model` with the tensors of a ``state_dict``; no pickled object is trusted."""
    expected = model.specs()
    found = state_tensors(op, read_saved(op, path, framework.read_pth), expected.__contains__)
    remedy = "Use a state_dict of the model that the portable file describes."
    specs = {name: spec(array) for name, array in found.items()}
    check_layout(op, specs, expected, remedy)
    model.assign(found)
    return model
