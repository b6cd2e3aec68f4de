"""The Keras and TensorFlow engine."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._require import require

require("tensorflow")

import keras
import numpy as np
import tensorflow as tf

from ...models.tensorflow.backbone import Backbone
from ...models.tensorflow.bcnn import BCNN, save
from ...models.tensorflow.sgd import SGD
from ..parameter_groups import Plan

__all__ = ["BCNN", "Engine"]

IMAGES = tf.TensorSpec((None, None, None, None), tf.float32)
LABELS = tf.TensorSpec((None,), tf.int64)


class Engine:
    """`Engine` of `bilinear.train.engines`, with one `SGD` for each group in a `tf.function`.

    It enables TensorFlow's deterministic kernels for the whole process: there is no narrower
    setting.

    Args:
        model: a `BCNN`, trained in place.
        jit_compile: compile the steps with XLA. Default: False.
        name: of a user-defined backbone, as in `save`. Default: None.
    """

    def __init__(
        self, model: BCNN, *, jit_compile: bool = False, name: str | tuple[str, str] | None = None
    ) -> None:
        tf.config.experimental.enable_op_determinism()
        model.trainable = True  # the engine sets Keras' flags
        self.model = model
        self.jit_compile = jit_compile
        self.assign, self.save = model.assign, functools.partial(save, model, name=name)
        self.streams = model.streams
        self.num_classes = model.num_classes
        self.preprocessing = model.preprocessing
        self.learned = frozenset(k for k, v in model.canonical().items() if v.trainable)
        self.optimizers: list[SGD] = []
        self.plan = Plan((), (), frozenset(), 0.0)
        self.step: Any = None
        self.head: Any = None
        self.scores: Any = None
        self.logits = self._function(self._logits, IMAGES)
        self.backbones = self._function(self._feature_maps, IMAGES)

    def tensors(self) -> dict[str, np.ndarray]:
        canonical = self.model.canonical().items()
        return {name: np.array(self.model.to_canonical(name, v)) for name, v in canonical}

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        self._set_trainable(plan.trained.keys())
        own, self.optimizers = self.model.canonical(), []
        for names, decay in zip(plan.groups, plan.decays, strict=True):
            optimizer = SGD(0.0, plan.momentum, decay)
            optimizer.build([own[name] for name in names])
            self.optimizers.append(optimizer)
        # a new trace for each phase: the trace contains which parameters train
        self.step = self._function(self._step, IMAGES, LABELS)
        self.head = None

    def _function(self, function: Any, *signature: Any) -> Any:
        """Trace once for all sizes: a trace for one size rounds differently, so that the sizes
        seen first would change the last digits of a resumed run."""
        return tf.function(function, input_signature=signature, jit_compile=self.jit_compile)

    def _set_trainable(self, trained: Any) -> None:
        """Set Keras' flags, by layer; a frozen BatchNorm layer works as in evaluation mode."""
        model, prefixes = self.model, {name.rpartition(".")[0] for name in trained}
        model.trainable = True
        for attribute in ("backbone", "backbone_b", "projection", "projection_b", "pool"):
            layer: Any = getattr(model, attribute)
            if isinstance(layer, Backbone):
                for path, part in layer.parts.items():
                    part.trainable = f"{attribute}.{path}" in prefixes
            elif layer is not None:
                layer.trainable = any(name.startswith(f"{attribute}.") for name in trained)
        if model.classifier is not None:
            model.classifier.trainable = "classifier" in prefixes

    def _buffers(self) -> dict[str, keras.Variable]:
        pairs = zip(self.plan.groups, self.optimizers, strict=True)
        return {
            name: buffer
            for names, optimizer in pairs
            for name, buffer in zip(names, optimizer.momenta, strict=False)
        }

    def buffers(self) -> dict[str, np.ndarray]:
        found = self._buffers().items()
        return {name: np.array(self.model.to_canonical(name, v)) for name, v in found}

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        own = self._buffers()
        for name, array in buffers.items():
            own[name].assign(self.model.to_own(name, array))

    def train_step(self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]) -> float:
        self._set_learning_rates(rates)
        return float(self.step(tf.constant(images), tf.constant(labels)))

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        self._set_learning_rates(rates)
        given = tuple(map(tf.constant, maps))
        if self.head is None:
            self.head = self._function(self._head_step, _specs(given), LABELS)
        return float(self.head(given, tf.constant(labels)))

    def _set_learning_rates(self, rates: Sequence[float]) -> None:
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.learning_rate = rate

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self._update(lambda: self.model(images, training=True), labels)

    def _head_step(self, maps: tuple[tf.Tensor, ...], labels: tf.Tensor) -> tf.Tensor:
        return self._update(lambda: self.model.logits(*maps, training=True), labels)

    def _update(self, forward: Callable[[], tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        own = self.model.canonical()
        groups = [[own[name] for name in names] for names in self.plan.groups]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for group in groups for variable in group])
            logits = _upcast(forward())
            loss = _loss(self.plan, logits, labels)
        gradients: Any = tape.gradient(loss, [[v.value for v in group] for group in groups])
        if self.plan.clip_norm is not None:
            norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
            scale = tf.minimum(tf.ones_like(norm), self.plan.clip_norm / (norm + 1e-6))
            gradients = [[None if g is None else scale * g for g in group] for group in gradients]
        for optimizer, group, of_group in zip(self.optimizers, groups, gradients, strict=True):
            optimizer.apply(of_group, group)
        return loss

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return self.logits(tf.constant(images)).numpy()

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        return _upcast(self.model(images, training=False))

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        given = tuple(map(tf.constant, maps))
        if self.scores is None:
            self.scores = self._function(self._scores, _specs(given))
        return self.scores(given).numpy()

    def _scores(self, maps: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return _upcast(self.model.logits(*maps, training=False))

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(x.numpy() for x in self.backbones(tf.constant(images)))

    def _feature_maps(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return self.model.feature_maps(images, training=False)

    def environment(self) -> dict[str, Any]:
        devices = tf.config.get_visible_devices()
        details: Any = tf.config.experimental.get_device_details
        return {
            "framework": "tensorflow",
            "version": tf.__version__,
            "device": [device.device_type for device in devices],
            "gpu": [details(d).get("device_name", "") for d in devices if d.device_type == "GPU"],
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "jit_compile": self.jit_compile,
            "policy": self.model.dtype_policy.name,
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }


def _loss(plan: Plan, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    if plan.class_weights is None and not plan.label_smoothing:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    classes: Any = logits.shape[-1]
    weights = tf.constant(plan.class_weights or (1.0,) * classes, logits.dtype)
    rest = plan.label_smoothing / classes
    targets = tf.one_hot(labels, classes, 1 - plan.label_smoothing + rest, rest, dtype=logits.dtype)
    losses = -tf.reduce_sum(weights * targets * tf.nn.log_softmax(logits), -1)
    return tf.reduce_sum(losses) / tf.reduce_sum(tf.gather(weights, labels))


def _specs(maps: tuple[tf.Tensor, ...]) -> tuple[tf.TensorSpec, ...]:
    """Of such feature maps, with any batch size."""
    return tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in maps)


def _upcast(logits: tf.Tensor) -> tf.Tensor:
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
