"""PyTorch's own file of a B-CNN: its ``state_dict``."""

import torch

from ..._files import replace_file
from ..state_dict import open_state
from ..tensorfile import check_layout
from . import framework
from .bcnn import BCNN


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
    """Call ``torch.save(model.state_dict(), path)``, atomically."""
    with replace_file(path) as temporary:
        torch.save(model.state_dict(), temporary)


def read_native(op: str, path: str, form: str, model: BCNN) -> BCNN:
    """Return `model` with the tensors of a ``state_dict``; no pickled object is trusted."""
    expected = model.specs()
    remedy = "Use a state_dict of the model that the portable file describes."
    with open_state(op, path, framework.read_pth, expected.__contains__) as state:
        check_layout(op, state.specs, expected, remedy)
        model.assign({name: state.read(name) for name in expected})
    return model
