"""The JAX and Flax engine."""

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...._require import require, require_packages

require("jax")
require_packages("bilinear.train", ("optax",), "cli")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ....models.jax.bcnn import BCNN, save
from ....models.jax.framework import get_value, set_value
from ...parameter_groups import Plan
from ...processes import Processes
from ...processes.jax import connected
from ..parts import split_batch_of_all
from . import rules
from .devices import make_devices
from .rules import Values

__all__ = ["BCNN", "Engine"]

_average = jax.jit(optax.incremental_update, donate_argnums=1)
_add = jax.jit(lambda total, part: jax.tree.map(jnp.add, total, part), donate_argnums=0)


class Engine:
    """`Engine` of `bilinear.train.engines`, with Optax under `jax.jit`.

    Several devices or processes share each batch; the step is that of one device, up to rounding,
    also for BatchNorm layers that train. The other methods compute in each process by themselves.

    Args:
        model: a `BCNN`, trained in place.
        name: of a user-defined backbone, as in `save`. Default: None.
        devices: number of devices of this process, and of each of the others. Default: 1.
        shard_classifier: divide the classifier and its optimizer state between all devices, by the
            classes. Then all processes call every method together. Default: False.
        processes: connected by `jax.distributed`. Default: one process.

    Raises: ValueError for more devices than there are, and for a classifier that they do not
        divide.
    """

    def __init__(
        self,
        model: BCNN,
        *,
        name: str | tuple[str, str] | None = None,
        devices: int = 1,
        shard_classifier: bool = False,
        processes: Processes | None = None,
    ) -> None:
        self.model, self.name = model, name
        self.processes = processes or Processes()
        self.devices = make_devices(model, devices, self.processes.count, shard_classifier)
        self.streams = model.streams
        self.num_classes = model.num_classes
        self.preprocessing = model.preprocessing
        own = model.canonical()
        self.learned = frozenset(k for k, v in own.items() if isinstance(v, nnx.Param))
        self.plan = Plan((), (), frozenset(), 0.0)
        self.state: Any = ()
        self.averages: Values = {}
        self.step: Any = None
        self.head: Any = None
        self.update: Any = None
        self.zeros: Any = None
        model.eval()
        build = self._builder()  # nnx.jit would return a copy of every value of the model
        self.logits = jax.jit(lambda values, images: rules.upcast(build(values)(images)))
        self.scores = jax.jit(lambda values, maps: rules.upcast(build(values).logits(*maps)))
        self.backbones = jax.jit(lambda values, images: build(values).feature_maps(images))

    def tensors(self) -> dict[str, np.ndarray]:
        own = self._whole_values().items()
        return {name: np.array(self.model.to_canonical(name, v)) for name, v in own}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._whole_values()
        self.model.assign(tensors)

    def save(self, path: str, **meaning: Any) -> None:
        self._whole_values()
        if self.processes.rank == 0:
            save(self.model, path, name=self.name, **meaning)

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        rule, values = rules.make_optimizer(plan), self._whole_values()
        self.devices.placed.clear()
        self.state, self.averages = rule.init({name: values[name] for name in plan.trained}), {}
        self._set_modes()
        update = functools.partial(rules.update_step, plan, rule)
        self.update = self.devices.compile(update, donate=(0, 2))
        self.zeros = self.devices.compile(lambda values: jax.tree.map(jnp.zeros_like, values))
        self.head = self._make_step(update, self._logits)
        self.step = self._make_step(
            update, lambda model, x: self._logits(model, model.feature_maps(x))
        )

    def _logits(self, model: BCNN, maps: Sequence[jax.Array]) -> jax.Array:
        if not self.devices.sharded:
            return model.logits(*maps)
        assert model.classifier is not None
        # otherwise XLA could replicate the classifier, which is larger
        return model.classifier(self.devices.replicate(model.pool(*model.prepared(maps))))

    def _make_step(self, update: Any, logits: Callable[[BCNN, Any], jax.Array]) -> Any:
        """A step as a compiled pure function, or the loss, the number of correct predictions, the
        statistics and the gradients of a part of a batch; `logits` are those of a model."""
        build, plan = self._builder(), self.plan

        def differentiate(
            trained: Values, rest: Values, inputs: Any, labels: Any, weight: Any
        ) -> Any:
            def loss(trained: Values) -> tuple[jax.Array, tuple[jax.Array, Values]]:
                model = build(trained | rest)
                scores = rules.upcast(logits(model, inputs))
                correct = (scores.argmax(-1) == labels).sum()
                own = model.canonical()
                statistics = {name: own[name][...] for name in plan.statistics}
                return rules.cross_entropy(plan, scores, labels, weight), (correct, statistics)

            return jax.value_and_grad(loss, has_aux=True)(trained)

        def step(
            trained: Values, rest: Values, state: Any, rates: Any, *batch: Any
        ) -> tuple[tuple[jax.Array, jax.Array], Values, Any]:
            (value, (correct, statistics)), gradients = differentiate(trained, rest, *batch)
            updated, state = update(trained, gradients, state, rates)
            return (value, correct), updated | statistics, state

        if plan.part is not None:
            return self.devices.compile(differentiate, batch=2)
        # new values take the memory of the old ones
        return self.devices.compile(step, donate=(0, 2), batch=4)

    def _builder(self) -> Callable[[Values], BCNN]:
        """A function that makes the model, in its present modes, with the given values."""
        ids = {id(variable) for variable in self.model.canonical().values()}
        paths = {path for path, node in nnx.iter_graph(self.model) if id(node) in ids}
        graph, own, rest = nnx.split(self.model, lambda path, _: path in paths, ...)
        shapes = jax.eval_shape(lambda: own)  # the values themselves would hold their memory

        def build(values: Values) -> BCNN:
            model = nnx.merge(graph, shapes, rest, copy=True)
            own = model.canonical()
            for name, value in values.items():
                set_value(own[name], value)
            return model

        return build

    def _values(self) -> Values:
        return {name: get_value(v) for name, v in self.model.canonical().items()}

    def _whole_values(self) -> Values:
        """The values on the first device of this process, after which the model has these."""
        values = self.devices.whole(self._values())
        self._set_values(values)
        return values

    def _set_values(self, values: Values) -> None:
        own = self.model.canonical()
        for name, value in values.items():
            set_value(own[name], value)

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
        kinds = self.devices.whole({"average": self.averages})
        kinds |= rules.read_state(self.devices.whole(self.state), self.plan)
        canonical = self.model.to_canonical
        return {
            f"{kind}.{name}": np.array(value if kind == "step" else canonical(name, value))
            for kind, values in kinds.items()
            for name, value in values.items()
        }

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None:
        given: dict[str, Values] = defaultdict(dict)
        for key, array in buffers.items():
            kind, _, name = key.partition(".")
            value = array if kind == "step" else self.model.to_own(name, array)
            given[kind][name] = jnp.array(value)
        self.averages = given["average"]
        self.state = tuple(rules.restore_state(part, given) for part in self.state)

    def average(self, names: Sequence[str], decay: float) -> None:
        own = self._values()
        values = {name: own[name] for name in names}
        before = self.averages if decay else jax.tree.map(jnp.copy, values)  # steps donate values
        given = self.devices.spread(values), self.devices.spread({"average": before})["average"]
        found = self.devices.collect({"average": _average(*given, 1 - decay)})
        self.averages = found["average"]

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._run_step(self.step, images, labels, rates)

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        return self._run_step(self.head, tuple(maps), labels, rates)

    @connected()
    def _run_step(
        self, step: Any, inputs: Any, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        values, devices = self._values(), self.devices
        trained = devices.spread({name: values[name] for name in self.plan.trained})
        rest = devices.spread({name: v for name, v in values.items() if name not in trained})
        state = devices.spread(self.state)
        parts, weight = split_batch_of_all(self.plan, labels, self.processes)

        def spread(own: slice, sizes: tuple[int, ...]) -> tuple[Any, ...]:
            batch = jax.tree.map(lambda x: x[own], (inputs, labels))
            return sizes, *devices.spread_batch(batch, sizes), weight

        batches = itertools.starmap(spread, parts)
        if self.plan.part is None:
            ((sizes, *batch),) = batches
            found, values, state = step(sizes, trained, rest, state, np.asarray(rates), *batch)
        else:
            found, values, total = self._add_parts(step, trained, rest, batches)
            updated, state = self.update(trained, total, state, np.asarray(rates))
            values |= updated
        self.state = devices.collect(state)
        self._set_values(devices.collect(values))
        loss, correct = jax.device_get(found)
        return float(loss), int(correct)

    def _add_parts(
        self, step: Any, trained: Values, rest: Values, batches: Iterable[Any]
    ) -> tuple[tuple[float, int], Values, Values]:
        """The loss and the number of correct predictions, the statistics and the gradients."""
        loss, correct, moved, total = 0.0, 0, {}, self.zeros(trained)
        for sizes, *batch in batches:
            (value, (right, statistics)), gradients = step(sizes, trained, rest | moved, *batch)
            moved |= statistics
            total = _add(total, gradients)
            value, right = jax.device_get((value, right))
            loss += float(value)
            correct += int(right)
        return (loss, correct), moved, total

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        return self._run_frozen(self.logits, images)

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        return self._run_frozen(self.scores, tuple(maps))

    def _run_frozen(self, logits: Any, inputs: Any) -> np.ndarray:
        values, inputs = self._whole_values(), jax.tree.map(jnp.asarray, inputs)
        if not len(jax.tree.leaves(inputs)[0]):  # XLA refuses some networks without images
            return np.zeros((0, self.num_classes), np.float32)
        return np.asarray(logits(values, inputs))

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        sharded = self.devices.sharded
        values = {name: value for name, value in self._values().items() if name not in sharded}
        return tuple(map(np.asarray, self.backbones(values, jnp.asarray(images))))

    def environment(self) -> dict[str, Any]:
        device, config = jax.devices()[0], jax.config
        products: Any = config.jax_default_matmul_precision  # type: ignore[attr-defined]
        return {
            "framework": "jax",
            "version": jax.__version__,
            "device": f"{device.platform}, {device.device_kind}",
            "devices": len(self.devices.own),
            "processes": self.processes.count,
            "x64": bool(config.read("jax_enable_x64")),
            "precision": products,
        }
