"""The functions of `test_low_rank_layers` for PyTorch."""

import copy
import io
import pickle

import torch

import bilinear.torch as namespace

from ._torch_transforms import compiled
from .torch import LAYOUTS, to_array, to_tensor


def weights(layer):
    return {name: to_array(weight) for name, weight in layer.named_parameters()}


def apply_layer(name, made_of, maps):
    return to_array(getattr(namespace, name)(**made_of)(*_channels_first(maps)))


def apply_copies(name, made_of, maps):
    """Return the results of copies and compiled versions of a layer."""
    layer, maps = getattr(namespace, name)(**made_of), _channels_first(maps)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    twin = getattr(namespace, name)(**made_of | {"seed": 7})
    twin.load_state_dict(torch.load(file, weights_only=True))
    ways = {
        "eager": layer,
        "copy.deepcopy": copy.deepcopy(layer),
        "pickle": pickle.loads(pickle.dumps(layer)),
        "state_dict": twin,
        "repr": eval(repr(layer), vars(namespace)),
        "torch.compile": compiled(layer),
    }
    with torch.no_grad():
        results = {way: to_array(one(*maps)) for way, one in ways.items()}
        with torch.autocast("cpu", torch.bfloat16):
            results["autocast"] = to_array(layer(*maps))
    return results


def project(x, cotangent, made_of, mask=None):
    """Return value and gradients of feature map and weight, channels-last, in each layout."""
    results = {}
    for layout, memory in LAYOUTS.items():
        layer = namespace.Projection(**made_of).to(to_tensor(x).dtype)
        leaf = to_tensor(x).movedim(-1, 1)
        leaf = leaf.contiguous(memory_format=memory) if leaf.ndim == 4 else leaf
        leaf = leaf.detach().requires_grad_()
        value = layer(leaf, mask=None if mask is None else torch.from_numpy(mask))
        ct = to_tensor(cotangent).movedim(-1, 1)
        dx, dw = torch.autograd.grad(value, [leaf, layer.weight], ct)
        results[layout] = tuple(map(to_array, (value.movedim(1, -1), dx.movedim(1, -1), dw)))
    return results


def _channels_first(maps):
    return [to_tensor(m).movedim(-1, 1) for m in maps]
