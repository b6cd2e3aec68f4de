"""The tables of a Keras layer after saving, copies and casts."""

import copy
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import bilinear.tensorflow as namespace

to_array = tf.constant


def apply_pool(pool, maps):
    twin = type(pool).from_config(pool.get_config() | {"dtype": "float64"})
    twin.set_weights(pool.get_weights())
    return twin(to_array(maps)).numpy()


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
