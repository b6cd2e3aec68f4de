"""The JAX and Flax engine."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._require import require, require_packages

require("jax")
require_packages("bilinear.train", ("optax",), "cli")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ...models.jax.bcnn import BCNN, save
from ..parameter_groups import Plan
from ..processes import Processes
from .parts import split_batch

__all__ = ["BCNN", "Engine"]

Values = dict[str, jax.Array]
"""Canonical name -> value in Flax's layout."""
KINDS = ("momentum", "exp_avg", "exp_avg_sq", "step", "average")

_average = jax.jit(optax.incremental_update, donate_argnums=1)
_add = jax.jit(
    lambda total, gradients, share: jax.tree.map(lambda x, g: x + share * g, total, gradients),
    donate_argnums=0,
)


class Engine:
    """`Engine` of `bilinear.train.engines`, with Optax under `jax.jit`.

    Args:
        model: a `BCNN`, trained in place.
        name: of a user-defined backbone, as in `save`. Default: None.
    """

    def __init__(self, model: BCNN, *, name: str | tuple[str, str] | None = None) -> None:
        self.model = model
        self.assign, self.save = model.assign, functools.partial(save, model, name=name)
        self.streams = model.streams
        self.num_classes = model.num_classes
        self.preprocessing = model.preprocessing
        self.processes = Processes()
        own = model.canonical()
        self.learned = frozenset(k for k, v in own.items() if isinstance(v, nnx.Param))
        self.plan = Plan((), (), frozenset(), 0.0)
        self.state: Any = ()
        self.averages: Values = {}
        self.step: Any = None
        self.head: Any = None
        self.update: Any = None
        model.eval()
        build = self._builder()  # nnx.jit would return a copy of every value of the model
        self.logits = jax.jit(lambda values, images: _upcast(build(values)(images)))
        self.scores = jax.jit(lambda values, maps: _upcast(build(values).logits(*maps)))
        self.backbones = jax.jit(lambda values, images: build(values).feature_maps(images))

    def tensors(self) -> dict[str, np.ndarray]:
        own = self.model.canonical().items()
        return {name: np.array(self.model.to_canonical(name, v[...])) for name, v in own}

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        rule = _rule(plan)
        self.state, self.averages = rule.init(self._trained()), {}
        self._set_modes()
        update = functools.partial(_update, plan, rule)
        self.update = jax.jit(update, donate_argnums=(0, 2))
        self.step = self._make_step(update, lambda model, x: model(x))
        self.head = self._make_step(update, lambda model, maps: model.logits(*maps))

    def _make_step(self, update: Any, logits: Callable[[BCNN, Any], jax.Array]) -> Any:
        """A step as a compiled pure function, or the loss, the number of correct predictions, the
        statistics and the gradients of a part of a batch; `logits` are those of a model."""
        build, plan = self._builder(), self.plan

        def differentiate(trained: Values, rest: Values, inputs: Any, labels: Any) -> Any:
            def loss(trained: Values) -> tuple[jax.Array, tuple[jax.Array, Values]]:
                model = build(trained | rest)
                scores = _upcast(logits(model, inputs))
                correct = (scores.argmax(-1) == labels).sum()
                own = model.canonical()
                statistics = {name: own[name][...] for name in plan.statistics}
                return _loss(plan, scores, labels), (correct, statistics)

            return jax.value_and_grad(loss, has_aux=True)(trained)

        def step(
            trained: Values, rest: Values, state: Any, inputs: Any, labels: Any, rates: Any
        ) -> tuple[tuple[jax.Array, jax.Array], Values, Any]:
            (value, (correct, statistics)), gradients = differentiate(trained, rest, inputs, labels)
            updated, state = update(trained, gradients, state, rates)
            return (value, correct), updated | statistics, state

        if plan.part is not None:
            return jax.jit(differentiate)
        return jax.jit(step, donate_argnums=(0, 2))  # new values take the memory of the old ones

    def _builder(self) -> Callable[[Values], BCNN]:
        """A function that makes the model, in its present modes, with given values."""
        ids = {id(variable) for variable in self.model.canonical().values()}
        paths = {path for path, node in nnx.iter_graph(self.model) if id(node) in ids}
        graph, own, rest = nnx.split(self.model, lambda path, _: path in paths, ...)
        shapes = jax.eval_shape(lambda: own)  # the values themselves would hold their memory

        def build(values: Values) -> BCNN:
            model = nnx.merge(graph, shapes, rest, copy=True)
            for name, variable in model.canonical().items():
                variable.set_value(values[name])
            return model

        return build

    def _trained(self) -> Values:
        values = self._values()
        return {name: values[name] for name in self.plan.trained}

    def _values(self) -> Values:
        return {name: v.get_value() for name, v in self.model.canonical().items()}

    def _set_modes(self) -> None:
        """Training mode, except for BatchNorm layers whose statistics are frozen."""
        self.model.train()
        moving = {id(v) for k, v in self.model.canonical().items() if k in self.plan.statistics}
        for _, module in nnx.iter_graph(self.model):
            if isinstance(module, nnx.Module) and hasattr(module, "use_running_average"):
                statistics = (v for v in vars(module).values() if isinstance(v, nnx.BatchStat))
                batch_norm: Any = module
                batch_norm.use_running_average = not any(id(v) in moving for v in statistics)

    def buffers(self) -> dict[str, np.ndarray]:
        kinds: dict[str, Any] = {"average": self.averages}
        steps: dict[str, np.ndarray] = {}
        for part in self.state:
            if isinstance(part, optax.TraceState):
                kinds["momentum"] = part.trace
            if isinstance(part, optax.ScaleByAdamState):
                kinds |= {"exp_avg": part.mu, "exp_avg_sq": part.nu}
                steps = {f"step.{name}": np.array(part.count) for name in self.plan.trained}
        return steps | {
            f"{kind}.{name}": np.array(self.model.to_canonical(name, value))
            for kind, values in kinds.items()
            for name, value in values.items()
        }

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        given: dict[str, Values] = {kind: {} for kind in KINDS}
        for key, array in buffers.items():
            kind, _, name = key.partition(".")
            value = array if kind == "step" else self.model.to_own(name, array)
            given[kind][name] = jnp.array(value)
        self.averages = given["average"]
        self.state = tuple(_restore(part, given) for part in self.state)

    def average(self, names: Sequence[str], decay: float) -> None:
        own = self._values()
        values = {name: own[name] for name in names}
        before = self.averages if decay else jax.tree.map(jnp.copy, values)  # steps donate values
        self.averages = _average(values, before, 1 - decay)

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._run_step(self.step, images, labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._run_step(self.head, tuple(maps), labels, rates)

    def _run_step(
        self, step: Any, inputs: Any, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        own, trained = self.model.canonical(), self._trained()
        rest = {name: v for name, v in self._values().items() if name not in trained}
        if self.plan.part is None:
            given = jax.tree.map(jnp.asarray, (inputs, labels))
            found, values, self.state = step(trained, rest, self.state, *given, jnp.asarray(rates))
        else:
            found, values = self._run_parts(step, trained, rest, inputs, labels, rates)
        for name, value in values.items():
            own[name].set_value(value)  # not by [...], which reads the donated value
        loss, correct = jax.device_get(found)
        return float(loss), int(correct)

    def _run_parts(
        self,
        step: Any,
        trained: Values,
        rest: Values,
        inputs: Any,
        labels: np.ndarray,
        rates: Sequence[float],
    ) -> tuple[tuple[float, int], Values]:
        """Add the gradients of the parts of a batch, then update."""
        loss, correct, total, moved = 0.0, 0, jax.tree.map(jnp.zeros_like, trained), {}
        for part, share in split_batch(self.plan, labels):
            given = jax.tree.map(lambda x, part=part: jnp.asarray(x[part]), (inputs, labels))
            (value, (right, statistics)), gradients = step(trained, rest | moved, *given)
            moved |= statistics
            total = _add(total, gradients, share)
            value, right = jax.device_get((value, right))
            loss += share * float(value)
            correct += int(right)
        updated, self.state = self.update(trained, total, self.state, jnp.asarray(rates))
        return (loss, correct), updated | moved

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.logits(self._values(), jnp.asarray(images)))

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(self.scores(self._values(), tuple(map(jnp.asarray, maps))))

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(map(np.asarray, self.backbones(self._values(), jnp.asarray(images))))

    def environment(self) -> dict[str, Any]:
        device, config = jax.devices()[0], jax.config
        products: Any = config.jax_default_matmul_precision  # type: ignore[attr-defined]
        return {
            "framework": "jax",
            "version": jax.__version__,
            "device": f"{device.platform}, {device.device_kind}",
            "x64": bool(config.read("jax_enable_x64")),
            "precision": products,
        }


def _loss(plan: Plan, logits: jax.Array, labels: jax.Array) -> jax.Array:
    if plan.class_weights is None and not plan.label_smoothing:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    classes = logits.shape[-1]
    weights = jnp.asarray(plan.class_weights or (1.0,) * classes, logits.dtype)
    targets = optax.smooth_labels(
        jax.nn.one_hot(labels, classes, dtype=logits.dtype), plan.label_smoothing
    )
    losses = -(weights * targets * jax.nn.log_softmax(logits)).sum(-1)
    return losses.sum() / weights[labels].sum()


def _update(
    plan: Plan,
    rule: optax.GradientTransformation,
    trained: Values,
    gradients: Values,
    state: Any,
    rates: jax.Array,
) -> tuple[Values, Any]:
    """The parameters after an update, and the new state of the optimizer."""
    if plan.clip_norm is not None:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
        scale = jnp.minimum(1, plan.clip_norm / (norm + 1e-6))
        gradients = {name: scale * g for name, g in gradients.items()}
    updates: Any
    updates, state = rule.update(gradients, state, trained)
    updated = {
        name: weight - rates[plan.trained[name]].astype(weight.dtype) * updates[name]
        for name, weight in trained.items()
    }
    return updated, state


def _restore(part: Any, given: Mapping[str, Values]) -> Any:
    """A part of Optax's state with the buffers of each kind."""
    if isinstance(part, optax.TraceState):
        trace: Any = part.trace
        return optax.TraceState(trace | given["momentum"])
    if isinstance(part, optax.ScaleByAdamState) and given["step"]:
        count = next(iter(given["step"].values())).astype(jnp.int32)
        mu: Any = part.mu
        nu: Any = part.nu
        return optax.ScaleByAdamState(count, mu | given["exp_avg"], nu | given["exp_avg_sq"])
    return part


def _rule(plan: Plan) -> optax.GradientTransformation:
    """Torch's AdamW or SGD up to the factor of the learning rates, which the step applies."""
    decays = [
        optax.add_decayed_weights(decay, {name: name in names for name in plan.trained})
        for names, decay in zip(plan.groups, plan.decays, strict=True)
        if decay
    ]
    if plan.adamw is not None:
        return optax.chain(optax.scale_by_adam(*plan.adamw), *decays)
    momentum = [optax.trace(plan.momentum)] if plan.momentum else []
    return optax.chain(optax.identity(), *decays, *momentum)  # chain refuses to be empty


def _upcast(logits: jax.Array) -> jax.Array:
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)
