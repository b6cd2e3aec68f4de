"""Layers with weights or tables in PyTorch: copies, casts and files."""

import copy
import io
import pickle

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
    for cast in (other.half(), other.double(), other.type(torch.float16)):
        assert torch.equal(cast(x), expected)  # not rounded
    assert torch.equal(other.to("meta").to_empty(device="cpu")(x), expected)
    assert not list(pool.parameters())
    assert "seed=1" in repr(pool)


def check_constants(method):
    pool = namespace.CompactBilinearPool(16, 4096, method=method, seed=1)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(16), pool).eval()
    expected = {name: table.clone() for name, table in pool.state_dict().items()}
    ema, averages = copy.deepcopy(model), [AveragedModel(model, use_buffers=True)]
    averages.append(
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9999), use_buffers=True)
    )
    for _ in range(50):
        pairs = zip(ema.state_dict().values(), model.state_dict().values(), strict=True)
        for average, value in pairs:  # as timm's ModelEmaV2
            average.copy_(0.9999 * average + 0.0001 * value)
        for averaged in averages:
            averaged.update_parameters(model)
    for averaged in (ema, *(averaged.module for averaged in averages)):
        found = averaged[1].state_dict()
        assert all(torch.equal(found[name], table) for name, table in expected.items())
    first = next(iter(expected))
    for wrong, seed, words in (
        ({first: -expected[first]}, 1, f"{first}.* must be the tables of seed=1"),
        ({first: 0.9999 * expected[first]}, 1, f"{first}.* must be the tables of seed=1"),
        ({first: -2 * expected[first].abs() - 1}, None, f"{first} must"),
        ({first: 0.9999 * expected[first]}, None, f"{first} must"),
        ({first: None}, None, "must be complete"),
    ):
        other = namespace.CompactBilinearPool(16, 4096, method=method, seed=seed)
        before = other.state_dict()
        given = {k: v for k, v in (expected | wrong).items() if v is not None}
        with pytest.raises(RuntimeError, match=words):
            other.load_state_dict(given, strict=False)
        after = other.state_dict()
        assert all(torch.equal(after[name], table) for name, table in before.items())
    assert set(other.load_state_dict({}, strict=False).missing_keys) == set(expected)
