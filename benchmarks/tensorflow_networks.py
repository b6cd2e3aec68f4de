"""B-CNNs of plain Keras layers and the published formula, and steps of these and of ours."""

import functools
import importlib
from collections.abc import Callable

import keras
import tensorflow as tf

from bilinear.models import plans

from .tensorflow_formulas import bilinear_pool

namespace = importlib.import_module("bilinear.tensorflow")
layers = keras.layers


def _apply(plan: plans.Layer, x):
    name = plan.name.replace(".", "_")
    match plan:
        case plans.Conv(_, _, outputs, kernel, stride, padding, bias):
            same = "same" if stride == 1 else "valid"  # "same" pads other strides unevenly
            x = layers.ZeroPadding2D(padding)(x) if padding and stride > 1 else x
            return layers.Conv2D(outputs, kernel, stride, same, use_bias=bias, name=name)(x)
        case plans.BatchNorm():
            return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
        case plans.MaxPool(
            _, kernel, stride, padding
        ):  # the input is not negative, so padding with 0 is correct
            x = layers.ZeroPadding2D(padding)(x) if padding else x
            return layers.MaxPooling2D(kernel, stride)(x)
        case plans.Relu():
            return layers.ReLU()(x)
        case plans.Block():
            y = x
            for part in plan.residual:
                y = _apply(part, y)
            for part in plan.downsample or ():
                x = _apply(part, x)
            return layers.ReLU()(layers.Add()([y, x]))


class Pooling(layers.Layer):
    """The published formula as a layer."""

    def call(self, x):
        return bilinear_pool(tf.reshape(x, (x.shape[0], -1, x.shape[3])))


def network(backbone: str, classes: int, shape) -> keras.Model:
    """A backbone, the published formula of the pooling, and a linear classifier."""
    images = x = keras.Input(batch_shape=shape)
    for plan in plans.BACKBONES[backbone]:
        x = _apply(plan, x)
    return keras.Model(images, layers.Dense(classes)(Pooling()(x)))


def _copy(ours, plain: keras.Model, backbone: str) -> None:
    """Copy the weights in the order of torchvision."""
    names = dict.fromkeys(name.rpartition(".")[0] for name in plans.tensor_shapes(backbone))
    made = [plain.get_layer(name.replace(".", "_")) for name in names]
    variables = [v for layer in (*made, plain.layers[-1]) for v in layer.weights]
    for own, other in zip(variables, ours.canonical().values(), strict=True):
        own.assign(other)


WAYS: dict[str, Callable] = {
    "tf.function": tf.function,
    "XLA": functools.partial(tf.function, jit_compile=True),
}
"""The ways to run a network."""


def steps(
    how: str, backbone: str, classes: int, images, labels, *, training: bool
) -> dict[str, Callable]:
    """Return the steps "ours", "plain" and "pooling" (only the pooling of ours).

    A training step returns the loss, an inference step the logits. Images are (N, H, W, 3).
    """
    x, classes_of = tf.constant(images), tf.constant(labels)
    ours = namespace.BCNN(backbone, classes)
    plain = network(backbone, classes, images.shape)
    _copy(ours, plain, backbone)
    features = tf.ones_like(ours.feature_maps(x)[0])

    def pool():
        if not training:
            return ours.pool(features)
        with tf.GradientTape() as tape:
            tape.watch(features)
            result = ours.pool(features)
        return tape.gradient(result, features, tf.ones_like(result))

    models = {"ours": ours, "plain": plain}
    found = {who: _step(WAYS[how], m, x, classes_of, training) for who, m in models.items()}
    pooling = WAYS[how](pool)
    return found | {"pooling": lambda: _wait(pooling())}


def _step(compiled: Callable, model, x, labels, training: bool) -> Callable:
    if not training:
        run = compiled(lambda x: model(x, training=False))
        return lambda: _wait(run(x))
    optimizer = keras.optimizers.SGD(1e-4, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @compiled
    def update(x, labels):
        with tf.GradientTape() as tape:
            scores = model(x, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            loss = tf.reduce_mean(losses)
        slopes = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
        return loss

    return lambda: _wait(update(x, labels))


def _wait(result):
    result[..., :1].numpy() if result.shape.rank else result.numpy()
    return result
