"""The tables of a PyTorch layer after saving, copies and casts."""

import copy
import pickle

import numpy as np
import torch

import bilinear.torch as namespace


def to_array(x):
    return torch.from_numpy(np.ascontiguousarray(x))


def apply_pool(pool, maps):
    return pool(to_array(maps)).numpy()


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
