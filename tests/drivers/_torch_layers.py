"""Layers with weights or tables in PyTorch: copies, casts and files."""

import copy
import io
import pickle

import torch

import bilinear.torch as namespace

from ._torch_transforms import compiled
from .torch import DRIVER, to_array


def weights(layer):
    return {name: to_array(weight) for name, weight in layer.named_parameters()}


def apply_copies(name, made_of, maps):
    """Return the results of copies and compiled versions of a layer."""
    layer, maps = getattr(namespace, name)(**made_of), [DRIVER.to_native_map(m) for m in maps]
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


def check_tables(method):
    before = torch.get_rng_state()
    pool = namespace.CompactBilinearPool(5, 4096, method=method, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))  # no spatial axes
    expected, names = pool(x), set(pool.tables._fields) - {"dim"}
    assert set(pool.state_dict()) == names
    other = namespace.CompactBilinearPool(5, 4096, method=method, seed=None)
    other.load_state_dict(pool.state_dict())
    for twin in (other, copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert torch.equal(twin(x), expected)
    assert pool.to("meta").tables[0].device.type == "meta"
    for cast in (other.half(), other.double()):
        assert torch.equal(cast(x), expected)  # not rounded
    assert not list(pool.parameters())
    assert "seed=1" in repr(pool)
