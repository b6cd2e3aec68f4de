"""The Keras and TensorFlow engine."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...._require import require

require("tensorflow")

import numpy as np
import tensorflow as tf

from ....contract import refuse
from ....models.keras.backbone import Backbone
from ....models.keras.bcnn import BCNN, save
from ....models.keras.sgd import SGD
from ....models.tensorflow.adamw import AdamW
from ...parameter_groups import Plan
from ...processes import Processes
from ...processes.tensorflow import Replicas, add_over_replicas, noticing_ends, scope
from ..parts import slices, split_batch, split_batch_of_all
from .steps import add, add_share, clip, differentiate, specs, upcast

__all__ = ["BCNN", "Engine", "scope"]

IMAGES = tf.TensorSpec((None, None, None, None), tf.float32)
LABELS = tf.TensorSpec((None,), tf.int64)


class Engine:
    """`Engine` of `bilinear.train.engines`, with an optimizer for each group in a `tf.function`.

    It enables TensorFlow's deterministic kernels for the whole process.

    Args:
        model: a `BCNN`, trained in place. If it was made in the scope of a `MirroredStrategy` or a
            `MultiWorkerMirroredStrategy`, each device computes its part of every batch, the
            gradients are summed, and BatchNorm layers normalize by the images of all devices.
        jit_compile: compile the steps with XLA, on one device. Default: False.
        name: of a user-defined backbone, as in `save`. Default: None.
        processes: of `join`, whose strategy made the model. Default: one process.

    Raises: ValueError for `jit_compile` with several devices or processes.
    """

    def __init__(
        self,
        model: BCNN,
        *,
        jit_compile: bool = False,
        name: str | tuple[str, str] | None = None,
        processes: Processes | None = None,
    ) -> None:
        tf.config.experimental.enable_op_determinism()
        value: Any = model.weights[0].value
        distributed = isinstance(value, tf.distribute.DistributedValues)
        self.replicas = Replicas(value.distribute_strategy) if distributed else None
        if self.replicas and jit_compile:
            several = "several devices or processes", "Leave --compile out."
            refuse(ValueError, "train", "XLA compiles steps of one device", *several)
        model.trainable = True  # the engine sets Keras' flags
        self.model = model
        self.jit_compile = jit_compile
        self.assign, self.name = model.assign, name
        self.streams, self.preprocessing = model.streams, model.preprocessing
        self.num_classes = model.num_classes
        self.processes = processes or Processes()
        self.learned = frozenset(k for k, v in model.canonical().items() if v.trainable)
        self.optimizers: list[SGD | AdamW] = []
        self.plan = Plan((), (), frozenset(), 0.0)
        self.averages: dict[str, tf.Tensor] = {}
        self.step: Any = None
        self.apply: Any = None
        self.head: Any = None
        self.scores: Any = None
        self.add: Any = None
        self.logits = self._inference(lambda images: upcast(model(images, training=False)), IMAGES)
        features = functools.partial(model.feature_maps, training=False)
        self.backbones = self._inference(features, IMAGES)

    def tensors(self) -> dict[str, np.ndarray]:
        canonical = self.model.canonical().items()
        return {name: np.array(self.model.to_canonical(name, v)) for name, v in canonical}

    def save(self, path: str, **meaning: Any) -> None:
        if self.processes.rank == 0:
            save(self.model, path, name=self.name, **meaning)

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        if self.replicas and plan.statistics and plan.part is not None:
            text = "with accumulate, BatchNorm layers that train normalize by a part of the images"
            warnings.warn(f"{text}: the results depend on the number of devices", stacklevel=2)
        self._set_trainable(plan.trained.keys())
        own, self.averages = self.model.canonical(), {}
        strategy = self.replicas.strategy if self.replicas else tf.distribute.get_strategy()
        with noticing_ends(), strategy.scope():
            self.optimizers = [
                SGD(0.0, plan.momentum, decay)
                if plan.adamw is None
                else AdamW(0.0, *plan.adamw, decay)
                for decay in plan.decays
            ]
            for names, optimizer in zip(plan.groups, self.optimizers, strict=True):
                optimizer.build([own[name] for name in names])
        # a new trace for each phase: the trace contains which parameters train
        self.step = self._training(lambda images: self.model(images, training=True), IMAGES)
        self.head = None
        self.apply = tf.function(self._apply, jit_compile=self.jit_compile)
        if replicas := self.replicas:
            self.add = tf.function(lambda *parts: replicas.of_each(replicas.run(add, *parts)))
            self.apply = tf.function(functools.partial(self._apply_sum, replicas))

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
        return self._run_step(self.step, images, labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        if self.head is None:
            scores = functools.partial(self.model.logits, training=True)
            self.head = self._training(lambda maps: scores(*maps), specs(maps))
        return self._run_step(self.head, tuple(maps), labels, rates)

    def _run_step(
        self, step: Any, inputs: Any, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.learning_rate = rate
        if self.replicas:
            with noticing_ends():
                return self._run_rounds(self.replicas, step, inputs, labels)
        loss, correct, total = 0.0, 0, None
        for part, share in split_batch(self.plan, labels):
            of_part = tf.nest.map_structure(lambda x, own=part: tf.constant(x[own]), inputs)
            values, gradients = step(of_part, tf.constant(labels[part]))
            loss_of_part, correct_of_part = values.numpy().tolist()
            loss += share * loss_of_part
            correct += int(correct_of_part)
            if self.plan.part is not None:
                total = add_share(total, gradients, share)
        if total is not None:
            self.apply(total)
        return loss, correct

    def _run_rounds(
        self, replicas: Replicas, step: Any, inputs: Any, labels: np.ndarray
    ) -> tuple[float, int]:
        """Each device adds the gradients of its parts; then all devices add theirs, and update."""
        parts, weight = split_batch_of_all(self.plan, labels, self.processes, replicas.count)
        total = None
        for part, _ in parts:
            own = slices(part.start, part.stop, replicas.count)
            given = (replicas.divide(x, own) for x in (inputs, labels))
            found = step(*given, tf.constant(weight, tf.float64))
            total = found if total is None else self.add(total, found)
        loss, correct = self.apply(total).numpy().tolist()
        return loss, int(correct)

    def _training(self, logits: Callable[[Any], tf.Tensor], inputs: Any) -> Any:
        """Compile a step, or its part before the update on each device."""
        replicas = self.replicas
        if replicas is None:
            return self._function(functools.partial(self._update, logits), inputs, LABELS)

        def step(inputs: Any, labels: Any, weight: tf.Tensor) -> list[Any]:
            function = functools.partial(differentiate, self.plan, self._trained(), logits)
            results = replicas.run(function, inputs, labels, [weight] * replicas.count)
            return replicas.of_each(results)

        signature = [inputs] * replicas.count, [LABELS] * replicas.count
        return self._function(step, *signature, tf.TensorSpec((), tf.float64))

    def _update(self, logits: Any, inputs: Any, labels: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """[loss, correct predictions], and the gradients if parts follow before the update."""
        values, gradients = differentiate(self.plan, self._trained(), logits, inputs, labels)
        if self.plan.part is not None:
            return values, gradients
        self._apply(gradients)
        return values, None

    def _trained(self) -> list[list[Any]]:
        own = self.model.canonical()
        return [[own[name] for name in names] for names in self.plan.groups]

    def _apply(self, gradients: Any) -> None:
        gradients = clip(self.plan, gradients)
        for optimizer, group, own in zip(self.optimizers, self._trained(), gradients, strict=True):
            optimizer.apply(own, group)

    def _apply_sum(self, replicas: Replicas, found: list[Any]) -> tf.Tensor:
        """Update by the sum of the gradients of all devices; returns the sum of their values."""

        def total(values: tf.Tensor, gradients: Any) -> tuple[tf.Tensor, Any]:
            values, gradients = add_over_replicas((values, gradients))
            return values, clip(self.plan, gradients)

        values, gradients = replicas.run(total, *zip(*found, strict=True))
        for optimizer, group, own in zip(self.optimizers, self._trained(), gradients, strict=True):
            replicas.apply(optimizer, own, group)
        return replicas.of_each(values)[0]

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return self.logits(images).numpy()

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        if self.scores is None:
            scores = functools.partial(self.model.logits, training=False)
            self.scores = self._inference(lambda maps: upcast(scores(*maps)), specs(maps))
        return self.scores(tuple(maps)).numpy()

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(x.numpy() for x in self.backbones(images))

    def _inference(self, function: Any, inputs: Any) -> Callable[[Any], Any]:
        """Compile a function of a batch, which the devices of this process share."""
        replicas = self.replicas
        if replicas is None:
            compiled = self._function(function, inputs)
            return lambda batch: compiled(tf.nest.map_structure(tf.constant, batch))
        divided = functools.partial(replicas.concatenate, function)
        compiled = self._function(divided, [inputs] * replicas.count)
        return lambda batch: compiled(replicas.divide(batch))

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
            "processes": self.processes.count,
            "devices": self.replicas.count if self.replicas else 1,
            "policy": self.model.dtype_policy.name,
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }
