"""PyTorch's own file of a B-CNN: its ``state_dict``."""

import torch

<<<<<<< HEAD
from ..._files import replace_file
from ...contract import Spec
=======
from ..._files import replacing
>>>>>>> 6eb648b (One implementation of saving, loading and building a B-CNN; new classifiers on trained files; reset_classifier)
from ..imports import read_saved, state_tensors
from ..tensorfile import check_layout, spec
from . import framework
from .bcnn import BCNN


def write_native(op: str, model: BCNN, path: str, form: str) -> None:
<<<<<<< HEAD
    """``torch.save(model.state_dict(), path)``, whole or not at all."""
    with replace_file(path) as temporary:
=======
    """Call ``torch.save(model.state_dict(), path)``, atomically."""
    with replacing(path) as temporary:
>>>>>>> 6eb648b (One implementation of saving, loading and building a B-CNN; new classifiers on trained files; reset_classifier)
        torch.save(model.state_dict(), temporary)


def read_native(op: str, path: str, form: str, model: BCNN) -> BCNN:
    """Return `model` with the tensors of a ``state_dict``; no pickled object is trusted."""
    found = state_tensors(op, read_saved(op, path, framework.read_pth))
    expected = {name: framework.spec(tensor) for name, tensor in model.canonical().items()}
    remedy = "Use a state_dict of the model that the portable file describes."
    check_layout(op, {name: spec(array) for name, array in found.items()}, expected, remedy)
    model.assign(found)
    return model
