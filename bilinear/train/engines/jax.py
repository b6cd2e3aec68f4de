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

__all__ = ["BCNN", "Engine"]

Values = dict[str, jax.Array]
"""Canonical name -> value in Flax's layout."""


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
        own = model.canonical()
        self.learned = frozenset(k for k, v in own.items() if isinstance(v, nnx.Param))
        self.plan = Plan((), (), frozenset(), 0.0)
        self.state: Any = ()
        self.step: Any = None
        self.head: Any = None
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
        self.state = rule.init(self._trained())
        self._set_modes()
        self.step = self._make_step(rule, lambda model, x: model(x))
        self.head = self._make_step(rule, lambda model, maps: model.logits(*maps))

    def _make_step(
        self, rule: optax.GradientTransformation, logits: Callable[[BCNN, Any], jax.Array]
    ) -> Any:
        """A step as a compiled pure function; `logits` are those of a model for its inputs."""
        build, plan = self._builder(), self.plan

        def step(
            trained: Values, rest: Values, state: Any, inputs: Any, labels: Any, rates: Any
        ) -> tuple[jax.Array, Values, Any]:
            def loss(trained: Values) -> tuple[jax.Array, Values]:
                model = build(trained | rest)
                scores = _upcast(logits(model, inputs))
                own = model.canonical()
                return _loss(plan, scores, labels), {
                    name: own[name][...] for name in plan.statistics
                }

            (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
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
            return value, updated | statistics, state

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
        found = self._trace().items()
        return {name: np.array(self.model.to_canonical(name, v)) for name, v in found}

    def _trace(self) -> Values:
        traces: list[Any] = [part for part in self.state if isinstance(part, optax.TraceState)]
        return dict(traces[0].trace) if traces else {}

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        own = {name: jnp.array(self.model.to_own(name, v)) for name, v in buffers.items()}
        self.state = tuple(
            optax.TraceState(self._trace() | own) if isinstance(part, optax.TraceState) else part
            for part in self.state
        )

    def train_step(self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]) -> float:
        return self._run_step(self.step, jnp.asarray(images), labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        return self._run_step(self.head, tuple(map(jnp.asarray, maps)), labels, rates)

    def _run_step(
        self, step: Any, inputs: Any, labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        own, trained = self.model.canonical(), self._trained()
        rest = {name: v for name, v in self._values().items() if name not in trained}
        loss, values, self.state = step(
            trained, rest, self.state, inputs, jnp.asarray(labels), jnp.asarray(rates)
        )
        for name, value in values.items():
            own[name].set_value(value)  # not by [...], which reads the donated value
        return float(loss)

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


def _rule(plan: Plan) -> optax.GradientTransformation:
    """Weight decay and momentum of torch's SGD; the step applies the learning rates."""
    decays = [
        optax.add_decayed_weights(decay, {name: name in names for name in plan.trained})
        for names, decay in zip(plan.groups, plan.decays, strict=True)
        if decay
    ]
    momentum = [optax.trace(plan.momentum)] if plan.momentum else []
    return optax.chain(optax.identity(), *decays, *momentum)  # chain refuses to be empty


def _upcast(logits: jax.Array) -> jax.Array:
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)
