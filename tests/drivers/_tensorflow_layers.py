"""Layers with weights or tables in Keras: copies, masks, models and files."""

import copy
import pickle
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import bilinear.tensorflow as namespace

from .tensorflow import to_array


def weights(layer):
    return {weight.name: to_array(weight.value) for weight in layer.weights}


def apply_copies(name, made_of, maps):
    """Return the results of copies and compiled versions of a layer, models and their files."""
    layer, maps = getattr(namespace, name)(**made_of), [tf.constant(m) for m in maps]
    inputs = [keras.Input((None, None, m.shape[-1])) for m in maps]
    model = keras.Model(inputs, layer(*inputs))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.saving.load_model(Path(folder) / "model.keras")
    ways = {
        "eager": layer,
        "copy.deepcopy": copy.deepcopy(layer),
        "pickle": pickle.loads(pickle.dumps(layer)),
        "get_config": type(layer).from_config(layer.get_config()),
        "functional model": lambda *m: model(list(m)),
        "model.predict": lambda *m: model.predict(list(m), verbose=0),
        "file": lambda *m: loaded(list(m)),
        "tf.function": tf.function(layer),
        "XLA": tf.function(layer, jit_compile=True),
    }
    return {way: np.asarray(one(*maps)) for way, one in ways.items()}


def check_tables(method):
    x = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    pool = namespace.CompactBilinearPool(5, 4096, method=method, seed=1)
    expected, names = pool(x), set(pool.tables._fields) - {"dim"}
    assert {w.name for w in pool.non_trainable_weights} == names
    assert not pool.trainable_weights
    # the tables are saved with the model if they were not drawn with a seed
    own = namespace.CompactBilinearPool(5, 4096, method=method, tables=pool.tables)
    assert own.seed is None
    model = keras.Sequential([keras.Input((5,)), own])
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.models.load_model(Path(folder) / "model.keras")
    for twin in (loaded, copy.deepcopy(own), type(pool).from_config(pool.get_config())):
        np.testing.assert_array_equal(twin(x), expected)
    packed = namespace.CompactBilinearPool(5, 4096, method=method, seed=1, dtype="mixed_float16")
    assert packed(x).dtype == tf.float16
    for table, other in zip(packed.tables, pool.tables, strict=True):
        np.testing.assert_array_equal(table, other)  # not rounded


def check_constants(method):
    pool = namespace.CompactBilinearPool(16, 4096, method=method, seed=1)
    other = namespace.CompactBilinearPool(16, 4096, method=method, seed=2)
    other.set_weights(pool.get_weights())
    for _ in range(50):
        pairs = zip(other.get_weights(), pool.get_weights(), strict=True)
        other.set_weights([0.9999 * average + 0.0001 * value for average, value in pairs])
    for found, table in zip(other.tables, pool.tables, strict=True):
        np.testing.assert_array_equal(found, table)
