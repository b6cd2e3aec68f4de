"""The driver of TensorFlow and Keras."""

import copy
import functools
import os
import pickle
from contextlib import suppress

import keras
import numpy as np
import tensorflow as tf

import bilinear.tensorflow as namespace
from bilinear.models.plans import is_parameter

from . import TF32, Driver, freeze, kit_driver, thaw, to_canonical
from . import _tensorflow_transforms as transforms

if os.environ.get("BILINEAR_TEST_DEVICE", "cpu") == "cpu":
    tf.config.set_visible_devices([], "GPU")
    with suppress(RuntimeError):  # TensorFlow has already started
        tf.config.set_logical_device_configuration(
            *tf.config.list_physical_devices("CPU"), [tf.config.LogicalDeviceConfiguration()] * 4
        )  # for tests of several devices
tf.config.experimental.enable_op_determinism()
tf.config.experimental.enable_tensor_float_32_execution(TF32)
keras.utils.set_random_seed(0)  # required for deterministic random operations


def to_array(x) -> np.ndarray:
    return np.asarray(x.numpy())  # np.asarray(x) fails for a scalar bfloat16


@functools.cache
def _compiled(op, mode, kinds, options):
    """Trace `op` for operands of the given dtypes and shapes, where None is any size."""

    def function(*operands):
        masked = {"mask": operands[-1]} if kinds[-1][0] == "bool" else {}
        arrays = operands[: len(operands) - len(masked)]
        return getattr(namespace, op)(*arrays, **masked, **thaw(options))

    signature = [tf.TensorSpec(shape, dtype) for dtype, shape in kinds]
    return tf.function(function, input_signature=signature, jit_compile=mode == "xla")


def _pooled(function, cotangent, maps, layout, pool=None):
    """Return the result and gradients of a layer; check that descriptors have no Keras mask."""
    axis = 1 if layout == "channels_first" else -1
    tensors = [tf.constant(np.moveaxis(m, -1, axis)) for m in maps]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
    assert result.ndim > 2 or getattr(result, "_keras_mask", None) is None
    learned = [] if pool is None else sorted(pool.trainable_weights, key=lambda w: w.name)
    sources = [*tensors, *(w.value for w in learned)]
    ct = tf.constant(np.moveaxis(cotangent, -1, axis))  # of descriptors or of a feature map
    gradients = tape.gradient(result, sources, ct, unconnected_gradients="zero")
    of_maps = [np.moveaxis(to_array(g), axis, -1) for g in gradients[: len(maps)]]
    of_learned = map(to_array, gradients[len(maps) :])
    return np.moveaxis(to_array(result), axis, -1), (*of_maps, *of_learned)


def _parameters(model):
    return {k: v.value for k, v in model.canonical().items() if is_parameter(k)}


@functools.lru_cache(maxsize=1)
def _sgd(model):
    """Return a training step of `model` that is traced once, because eager steps are slow."""

    @tf.function
    def step(images, labels, state, lr, momentum, weight_decay):
        parameters = _parameters(model)
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, parameters)
        decayed = {name: gradients[name] + weight_decay * p for name, p in parameters.items()}
        state = {k: momentum * state[k] + decayed[k] for k in state}
        for name, parameter in parameters.items():
            parameter.assign_sub(lr * state[name])
        return state

    return step


class TensorFlow(Driver):
    name = "tensorflow"
    modes = ("eager", "function", "xla")
    layouts = ("channels_last", "channels_first")

    def to_native(self, array):
        return tf.constant(array)

    def to_array(self, native):
        return to_array(native)

    def call_with_wrong_type(self):
        namespace.outer_pool(object())

    def check_pool_copies(self):
        pool = namespace.BilinearPool("sum", eps=1e-5, l2_eps=1e-6, data_format="channels_first")
        x = tf.random.stateless_normal((2, 3, 4, 5), [1, 2])
        ways = {
            "copy.deepcopy": copy.deepcopy,
            "pickle": lambda p: pickle.loads(pickle.dumps(p)),
            "get_config": lambda p: type(p).from_config(p.get_config()),
            "serialize_keras_object": lambda p: keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(p)
            ),
            "clone_model": lambda p: keras.models.clone_model(
                keras.Sequential([keras.Input((3, None, None)), p])
            ),
            "tf.function": tf.function,
            "recompute_grad": tf.recompute_grad,
        }
        assert repr(pool).startswith("<BilinearPool name=bilinear_pool")
        for name, way in ways.items():
            expected, gradient = pool(x), transforms.vjp(pool, [x], tf.ones((2, 9)))
            tf.debugging.assert_equal(way(pool)(x), expected, name)
            tf.debugging.assert_equal(
                transforms.vjp(way(pool), [x], tf.ones((2, 9))), gradient, name
            )
        return [*ways, "repr"]

    def _function(self, op, mode, arrays, options):
        if mode == "eager":
            return functools.partial(getattr(namespace, op), **self.native_options(options))
        plain = freeze(options)
        mask = [tf.constant(options["mask"])] if "mask" in options else []
        sized = mode == "xla"  # XLA compiles for each shape and drops run-time checks
        kinds = tuple(
            (a.dtype.name, tuple(a.shape) if sized else (None,) * a.ndim)
            for a in [*arrays, *(m.numpy() for m in mask)]
        )
        function = _compiled(op, mode, kinds, plain)
        return lambda *tensors: function(*tensors, *mask)

    def forward(self, op, arrays, options, *, mode="eager"):
        function = self._function(op, mode, arrays, options)
        return to_array(function(*map(tf.constant, arrays)))

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        function = self._function(op, mode, arrays, options)
        gradients = transforms.vjp(function, list(map(tf.constant, arrays)), tf.constant(cotangent))
        return tuple(map(to_array, gradients))

    def layer(self, name, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        layout = layout or "channels_last"
        dtype = maps[0].dtype.name
        pool = getattr(namespace, name)(**parameters or {}, data_format=layout, dtype=dtype)
        masks = mask if isinstance(mask, dict) else {"mask": mask}  # Keras' mask arguments by name
        masks = {name: tf.constant(m) for name, m in masks.items() if m is not None}
        function = lambda *t: pool(*t, **masks)  # noqa: E731
        if mode != "eager":
            function = tf.function(function, jit_compile=mode == "xla")
        return _pooled(function, cotangent, maps, layout, pool)

    def dynamic_layer(self, maps, mask=None, *, layout=""):
        layout = layout or "channels_last"
        pool = namespace.BilinearPool(data_format=layout, dtype=maps[0].dtype.name)
        given = [*maps, *([] if mask is None else [mask])]
        signature = [tf.TensorSpec([None] * a.ndim, a.dtype) for a in given]

        @functools.partial(tf.function, input_signature=signature)
        def traced(*tensors):
            masks = {} if mask is None else {"mask": tensors[-1]}
            return pool(*tensors[: len(maps)], **masks)

        def layer(cotangent, maps, mask):
            masks = [] if mask is None else [tf.constant(mask)]
            return _pooled(lambda *t: traced(*t, *masks), cotangent, maps, layout)

        return layer

    def project_with_attached_mask(self, cotangent, x, mask, parameters):
        """Return result and gradients of a `Projection` whose map has an attached Keras mask."""
        layer = namespace.Projection(**parameters, dtype=x.dtype.name)

        def attached(leaf):
            leaf = tf.identity(leaf)
            leaf._keras_mask = tf.constant(mask)
            result = layer(leaf)
            np.testing.assert_array_equal(result._keras_mask, mask)
            return result

        return _pooled(attached, cotangent, [x], "channels_last", layer)

    def under_policy(self, policy, maps):
        """Return the descriptors of a layer with the dtype policy; `maps` may have any dtypes."""
        pool = namespace.BilinearPool(dtype=policy)
        symbols = [keras.Input(m.shape[1:], dtype=m.dtype.name) for m in maps]
        result = pool(*map(tf.constant, maps))
        assert pool(*symbols).dtype == pool.compute_dtype == result.dtype.name
        return to_array(result)

    def logits(self, model, images, *, training=False):
        return to_array(model(tf.constant(images), training=training))

    def descriptors(self, model, images):
        return to_array(model.descriptors(tf.constant(images)))

    def feature_maps(self, model, images):
        return tuple(map(to_array, model.feature_maps(tf.constant(images))))

    def gradients(self, model, images, cotangent, *, training):
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model(x, training=training)
        sources = _parameters(model), x
        gradients, dx = tape.gradient(logits, sources, tf.constant(cotangent))
        return to_array(logits), to_canonical(model, gradients), to_array(dx)

    def custom_network(self, channels, *, seed=0):
        keras.utils.set_random_seed(seed)
        layers = keras.layers.Conv2D(channels, 3), keras.layers.BatchNormalization()
        return keras.Sequential([*layers, keras.layers.ReLU()])

    def custom_feature_maps(self, channels, channels_b, *, seed=0):
        keras.utils.set_random_seed(seed)
        x = keras.Input((None, None, 3))
        first = keras.layers.Conv2D(channels, 3)(x)
        return keras.Model(x, [first, keras.layers.Conv2D(channels_b, 3)(first)])

    def export(self, model, images, folder):
        x = tf.constant(images)
        model.save(folder / "model.keras")
        again = keras.saving.load_model(folder / "model.keras")
        model(x)
        model.export(folder / "saved", verbose=False)  # for any batch size and image size
        served = tf.saved_model.load(folder / "saved")
        return {".keras": to_array(again(x)), "SavedModel": to_array(served.serve(x))}

    def sgd_step(self, model, images, labels, state, *, lr, momentum=0.0, weight_decay=0.0):
        if state is None:
            state = {name: tf.zeros_like(p) for name, p in _parameters(model).items()}
        values = (tf.constant(value, model.dtype) for value in (lr, momentum, weight_decay))
        return _sgd(model)(tf.constant(images), tf.constant(labels), state, *values)

    def momentum(self, model, state):
        return state

    def resume(self, model, buffers, *, momentum, weight_decay=0.0):
        del momentum, weight_decay  # arguments of every step
        return {name: buffers[name] for name in _parameters(model)}


DRIVER = TensorFlow(namespace, transforms)
KIT_DRIVER = kit_driver(DRIVER, tf32=TF32)
