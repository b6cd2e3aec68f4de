"""The tables of a Flax layer after copies, updates and compilation."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import bilinear.jax as namespace

from ..tolerances import RECOMPUTED

to_array = jnp.asarray


def apply_pool(pool, maps):
    return np.asarray(pool(maps))


def check_tables(method):
    pool = namespace.CompactBilinearPool(5, 4096, method=method, seed=1)
    x = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    expected, names = pool(x), set(pool.tables._fields) - {"dim"}
    assert set(nnx.to_pure_dict(nnx.state(pool))) == names
    assert not jax.tree.leaves(nnx.state(pool, nnx.Param))
    hash(nnx.graphdef(namespace.CompactBilinearPool([5, 3], 8, method=method)))
    other = namespace.CompactBilinearPool(5, 4096, method=method, seed=None)
    nnx.update(other, nnx.state(pool))
    merged = nnx.merge(*nnx.split(pool))
    for twin in (other, merged, copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        np.testing.assert_array_equal(twin(x), expected)
    compiled = nnx.jit(lambda pool, x: pool(x))(pool, x)
    np.testing.assert_allclose(compiled, expected, **RECOMPUTED)
    assert "seed=1" in repr(pool)
