"""The Keras and TensorFlow engine."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._require import require

require("tensorflow")

import numpy as np
import tensorflow as tf

from ...models.keras.backbone import Backbone
from ...models.keras.bcnn import BCNN, save
from ...models.keras.sgd import SGD
from ...models.tensorflow.adamw import AdamW
from ..parameter_groups import Plan
from ..processes import Processes
from .parts import split_batch

__all__ = ["BCNN", "Engine"]

IMAGES = tf.TensorSpec((None, None, None, None), tf.float32)
LABELS = tf.TensorSpec((None,), tf.int64)


class Engine:
    """`Engine` of `bilinear.train.engines`, with an optimizer for each group in a `tf.function`.

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
        self.processes = Processes()
        self.learned = frozenset(k for k, v in model.canonical().items() if v.trainable)
        self.optimizers: list[SGD | AdamW] = []
        self.plan = Plan((), (), frozenset(), 0.0)
        self.averages: dict[str, tf.Tensor] = {}
        self.step: Any = None
        self.apply: Any = None
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
        own, self.optimizers, self.averages = self.model.canonical(), [], {}
        for names, decay in zip(plan.groups, plan.decays, strict=True):
            if plan.adamw is None:
                optimizer = SGD(0.0, plan.momentum, decay)
            else:
                optimizer = AdamW(0.0, *plan.adamw, decay)
            optimizer.build([own[name] for name in names])
            self.optimizers.append(optimizer)
        # a new trace for each phase: the trace contains which parameters train
        self.step = self._function(self._step, IMAGES, LABELS)
        self.head = None
        self.apply = tf.function(self._apply, jit_compile=self.jit_compile)

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

    def _buffers(self) -> dict[tuple[str, str], Any]:
        """(Kind, canonical name) -> variable; ``step`` is that of a whole optimizer."""
        found: dict[tuple[str, str], Any] = {("average", k): v for k, v in self.averages.items()}
        for names, optimizer in zip(self.plan.groups, self.optimizers, strict=True):
            if isinstance(optimizer, SGD):
                lists = {"momentum": optimizer.momenta or [None] * len(names)}
            else:
                steps = [optimizer.iterations] * len(names)
                lists = {"exp_avg": optimizer.first, "exp_avg_sq": optimizer.second, "step": steps}
            for kind, variables in lists.items():
                pairs = zip(names, variables, strict=True)
                found |= {(kind, name): v for name, v in pairs if v is not None}
        return found

    def buffers(self) -> dict[str, np.ndarray]:
        to_canonical = self.model.to_canonical
        return {
            f"{kind}.{name}": np.array(v.numpy() if kind == "step" else to_canonical(name, v))
            for (kind, name), v in self._buffers().items()
        }

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        own = self._buffers()
        for key, array in buffers.items():
            kind, _, name = key.partition(".")
            value = array if kind == "step" else self.model.to_own(name, array)
            if kind == "average":
                self.averages[name] = tf.constant(value)
            else:
                own[kind, name].assign(value)

    def average(self, names: Sequence[str], decay: float) -> None:
        own = self.model.canonical()
        for name in names:
            value = tf.convert_to_tensor(own[name])
            before = self.averages[name] if decay else value
            self.averages[name] = before + (1 - decay) * (value - before)

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._run_step(self.step, lambda part: tf.constant(images[part]), labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        def inputs(part: slice) -> tuple[tf.Tensor, ...]:
            return tuple(tf.constant(x[part]) for x in maps)

        if self.head is None:
            self.head = self._function(self._head_step, _specs(inputs(slice(None))), LABELS)
        return self._run_step(self.head, inputs, labels, rates)

    def _run_step(
        self,
        step: Any,
        inputs: Callable[[slice], Any],
        labels: np.ndarray,
        rates: Sequence[float],
    ) -> tuple[float, int]:
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.learning_rate = rate
        loss, correct, total = 0.0, 0, None
        for part, share in split_batch(self.plan, labels):
            values, gradients = step(inputs(part), tf.constant(labels[part]))
            of_part, correct_of_part = values.numpy().tolist()
            loss += share * of_part
            correct += int(correct_of_part)
            if self.plan.part is not None:
                total = _add(total, gradients, share)
        if total is not None:
            self.apply(total)
        return loss, correct

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return self._update(lambda: self.model(images, training=True), labels)

    def _head_step(self, maps: tuple[tf.Tensor, ...], labels: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return self._update(lambda: self.model.logits(*maps, training=True), labels)

    def _update(self, forward: Callable[[], tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """[loss, correct predictions], and the gradients if parts follow before the update."""
        own = self.model.canonical()
        groups = [[own[name] for name in names] for names in self.plan.groups]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for group in groups for variable in group])
            logits = _upcast(forward())
            loss = _loss(self.plan, logits, labels)
        correct = tf.math.count_nonzero(tf.argmax(logits, -1) == labels, dtype=loss.dtype)
        values = tf.stack([loss, correct])
        gradients: Any = tape.gradient(loss, [[v.value for v in group] for group in groups])
        if self.plan.part is not None:
            return values, gradients
        self._apply(gradients)
        return values, None

    def _apply(self, gradients: Any) -> None:
        own = self.model.canonical()
        groups = [[own[name] for name in names] for names in self.plan.groups]
        if self.plan.clip_norm is not None:
            norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
            scale = tf.minimum(tf.ones_like(norm), self.plan.clip_norm / (norm + 1e-6))
            gradients = [[None if g is None else scale * g for g in group] for group in gradients]
        for optimizer, group, of_group in zip(self.optimizers, groups, gradients, strict=True):
            optimizer.apply(of_group, group)

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


def _add(total: Any, gradients: Any, share: float) -> Any:
    """Add ``share`` of the gradients of a part; a parameter that nothing depends on has None."""
    scaled = [[None if g is None else share * g for g in group] for group in gradients]
    if total is None:
        return scaled
    pairs = zip(total, scaled, strict=True)
    return [
        [None if x is None else x + y for x, y in zip(one, other, strict=True)]
        for one, other in pairs
    ]


def _specs(maps: tuple[tf.Tensor, ...]) -> tuple[tf.TensorSpec, ...]:
    """Of such feature maps, with any batch size."""
    return tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in maps)


def _upcast(logits: tf.Tensor) -> tf.Tensor:
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
