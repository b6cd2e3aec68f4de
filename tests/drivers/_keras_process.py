"""What the tests do with Keras layers on the backend that the environment names."""

import keras
import numpy as np

import bilinear.keras as namespace
from bilinear.contract.layers import LAYERS

ARGUMENTS = {
    "CompactBilinearPool": {"channels": 3, "dim": 4},
    "LowRankBilinearPool": {"channels": 3, "dim": 4, "rank": 2},
    "LowRankBilinearClassifier": {"channels": 3, "num_classes": 2},
    "HierarchicalBilinearPool": {"channels": [3, 3], "dim": 4},
    "Projection": {"channels": 3, "dim": 2},
}
"""Arguments of the layers for maps of 3 channels."""


def to_tensor(array):
    wide = array.astype("float32") if array.dtype.name == "bfloat16" else array
    return keras.ops.convert_to_tensor(wide, array.dtype.name)


to_array = keras.ops.convert_to_numpy


def layer(name, cotangent, maps, *, mask=None, parameters=None, layout=""):
    """Return descriptors, and gradients of channels-last maps and of learned weights by name."""
    layout, dtype = layout or "channels_last", maps[0].dtype.name
    made = getattr(namespace, name)(**parameters or {}, data_format=layout, dtype=dtype)
    axis = 1 if layout == "channels_first" else -1
    tensors = [to_tensor(np.moveaxis(m, -1, axis)) for m in maps]
    masks = {} if mask is None else {"mask": to_tensor(mask)}
    ct = to_tensor(np.moveaxis(cotangent, -1, axis))  # of descriptors or of a feature map
    result, gradients = GRADIENTS[keras.backend.backend()](made, tensors, masks, ct)
    gradients = list(map(to_array, gradients))
    of_maps = [np.moveaxis(g, axis, -1) for g in gradients[: len(maps)]]
    names = [weight.name for weight in made.trainable_weights]
    learned = dict(zip(names, gradients[len(maps) :], strict=True))
    of_learned = [learned[name] for name in sorted(learned)]
    return np.moveaxis(to_array(result), axis, -1), (*of_maps, *of_learned)


def _jax_gradients(made, maps, masks, cotangent):
    import jax  # noqa: PLC0415

    if not made.built:
        made(*maps, **masks)
    constants = [v.value for v in made.non_trainable_variables]

    def run(weights, maps):
        return made.stateless_call(weights, constants, *maps, **masks)[0]

    result, pull = jax.vjp(run, [v.value for v in made.trainable_variables], maps)
    of_weights, of_maps = pull(cotangent)
    return result, [*of_maps, *of_weights]


def _torch_gradients(made, maps, masks, cotangent):
    maps = [m.requires_grad_() for m in maps]
    result = made(*maps, **masks)
    weights = [v.value for v in made.trainable_variables]
    result.backward(cotangent)
    return result, [t.grad for t in (*maps, *weights)]


def _tensorflow_gradients(made, maps, masks, cotangent):
    import tensorflow as tf  # noqa: PLC0415

    with tf.GradientTape() as tape:
        tape.watch(maps)
        result = made(*maps, **masks)
    return result, tape.gradient(result, [*maps, *made.trainable_variables], cotangent)


GRADIENTS = {
    "jax": _jax_gradients,
    "torch": _torch_gradients,
    "tensorflow": _tensorflow_gradients,
}


def make(name, **arguments):
    return getattr(namespace, name)(**ARGUMENTS.get(name, {}) | arguments)


def streams(pool):
    return 2 if pool.class_name in ("HierarchicalBilinearPool", "OuterMaxPool") else 1


def under_policy(policy, images):
    """Return the results of all layers with a dtype policy."""
    layers = [make(name, dtype=policy) for name in LAYERS]
    return [to_array(layer(*[images] * streams(layer))) for layer in layers]


def network():
    """Return a model with the descriptors of all layers, for maps that are masked where they are 0.

    The layer within another one has tables.
    """
    x = keras.Input((None, None, 3))
    shared = make("Projection", dim=3)(keras.layers.Masking()(x))
    pools = [make(name) for name in LAYERS if name != "Projection"]
    pools.append(make("DemocraticPool", pool=make("CompactBilinearPool")))
    descriptors = [pool(*[shared] * streams(pool)) for pool in pools]
    return keras.Model(x, keras.layers.Concatenate()(descriptors))


def write(path, images):
    """Write a model with all layers; return its descriptors and those of its clone."""
    model = network()
    model.save(path)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return to_array(model(images)), to_array(clone(images))


def read(path, images, targets):
    """Return the descriptors of a saved model, called and predicted, and after some training."""
    model = keras.saving.load_model(path)
    called = to_array(model(images))
    predicted = model.predict(images, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(images, targets, batch_size=2, epochs=2, shuffle=False, verbose=0)
    return called, predicted, model.predict(images, verbose=0)


def _convolution(filters, stride):
    """Return a custom backbone whose weights are equal on every backend."""
    layer = keras.layers.Conv2D(filters, 3, strides=stride, activation="relu")
    made = keras.Sequential([keras.Input((None, None, 3)), layer])
    kernel = np.random.default_rng(stride).standard_normal((3, 3, 3, filters))
    made.set_weights([kernel, np.zeros(filters)])
    return made


def _model(case):
    if case == "taps":
        pool = {"name": "HierarchicalBilinearPool", "dim": 8}
        return namespace.BCNN("vgg16_bn", 3, taps=("relu1_1", "relu2_1"), pool=pool)
    if case == "inception_v3":
        return namespace.BCNN("inception_v3", 3, taps=("Mixed_6b",), projection=8)
    if case == "resnet18":
        pool = {"projection": 8, "pool": "CompactBilinearPool"}
        return namespace.BCNN("resnet18", 3, taps=("layer2",), **pool)
    return namespace.BCNN(_convolution(4, 1), 3, backbone_b=_convolution(5, 2), channels=(4, 5))


def predict_model(case, images, path=None):
    """Return the logits of a model, and write its portable file to `path`."""
    model = _model(case)
    if path is not None:
        namespace.save(model, path)
    return model.predict(images, verbose=0)


def predict_file(path, images):
    return namespace.load(path).predict(images, verbose=0)


def model_gradients(policy, pool, images, cotangent):
    """Return logits in training, and gradients of images and weights, under a dtype policy."""
    model = namespace.BCNN("vgg16_bn", 3, taps=("relu1_1",), projection=8, pool=pool, dtype=policy)
    given = to_tensor(images.astype(model.variable_dtype))
    pull, training = to_tensor(cotangent.astype(model.compute_dtype)), {"training": True}
    logits, gradients = GRADIENTS[keras.backend.backend()](model, [given], training, pull)
    return to_array(logits), list(map(to_array, gradients))


def train_model(case, portable, archive, images, labels):
    """Return the logits of a model before and after training, and write its files."""
    model = _model(case)
    before = to_array(model(images))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(namespace.SGD(0.1, momentum=0.9, weight_decay=0.01), loss)
    model.fit(images, labels, batch_size=2, epochs=2, shuffle=False, verbose=0)
    namespace.save(model, portable, name=None if case == "resnet18" else ("first", "second"))
    model.save(archive)
    return before, to_array(model(images))


def open_model(case, portable, archive, images):
    """Return the logits of the models in both files."""
    own = {"backbone": _convolution(4, 1), "backbone_b": _convolution(5, 2)}
    own = {} if case == "resnet18" else own
    models = namespace.load(portable, **own), keras.saving.load_model(archive)
    return [to_array(model(images)) for model in models]
