"""The functions of `test_low_rank_layers` for TensorFlow and Keras."""

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


def apply_layer(name, made_of, maps):
    return to_array(getattr(namespace, name)(**made_of)(*map(tf.constant, maps)))


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


def project(x, cotangent, made_of, mask=None):
    """Return value and gradients, channels-last, in each layout, with a mask passed or attached."""
    results, keep = {}, None if mask is None else tf.constant(mask)
    layouts = [("channels_last", -1, False), ("channels_first", 1, False)]
    if mask is not None:
        layouts.append(("channels_last", -1, True))
    for layout, axis, brought in layouts:
        layer = namespace.Projection(**made_of, data_format=layout, dtype=x.dtype.name)
        leaf, ct = (tf.constant(np.moveaxis(a, -1, axis)) for a in (x, cotangent))
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            if brought:
                leaf._keras_mask = keep
            value = layer(leaf) if brought else layer(leaf, mask=keep)
        dx, dw = tape.gradient(value, [leaf, layer.weight.value], ct)
        value, dx = (np.moveaxis(to_array(a), axis, -1) for a in (value, dx))
        results[f"{layout}, its own mask" if brought else layout] = value, dx, to_array(dw)
    return results
