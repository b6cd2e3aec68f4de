"""Processes that `tf.distribute.MultiWorkerMirroredStrategy` connects, and devices of a process."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..._require import require

require("tensorflow")

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context as eager

from ...contract import refuse
from ..engines.parts import slices
from . import Processes, keep_sigterm, lost_process

EXAMPLE = {
    "cluster": {"worker": ["host0:2222", "host1:2222"]},
    "task": {"type": "worker", "index": 0},
}


@dataclass(frozen=True)
class Workers(Processes):
    """Processes whose models have their variables in the scope of `strategy`."""

    strategy: Any = None


@contextmanager
def join(device: str | None) -> Iterator[Processes]:
    """Each process has the GPUs that it sees, or one CPU. Args: `device` is not used."""
    del device
    tasks, own = _cluster()
    if len(tasks) < 2:
        yield Processes()
        return
    rank, count = tasks.index(own), len(tasks)
    with keep_sigterm():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    context: Any = eager.context()

    def fails_first() -> bool:
        try:
            context.set_config_key_value("bilinear: failed process", f"{rank}")
        except tf.errors.AlreadyExistsError:
            return False
        except tf.errors.OpError:  # the process that has the values has ended
            return rank == 0
        return True

    yield Workers(rank, count, _adder(Replicas(strategy)), fails_first, strategy)


def _cluster() -> tuple[list[tuple[str, int]], tuple[str, int]]:
    """All tasks of ``TF_CONFIG``, the first of which is process 0, and that of this process."""
    text = os.environ.get("TF_CONFIG", "{}")
    try:
        given = json.loads(text)
        jobs = {name: len(addresses) for name, addresses in given.get("cluster", {}).items()}
        tasks = [(name, i) for name in ("chief", "worker") for i in range(jobs.pop(name, 0))]
        own = given["task"]["type"], int(given["task"]["index"])
        valid = not jobs and own in tasks
    except (ValueError, LookupError, TypeError, AttributeError):
        valid = False
    if not valid:
        invariant = "TF_CONFIG must describe workers, maybe a chief, and which of them this one is"
        refuse(ValueError, "train", invariant, text, f"For example {json.dumps(EXAMPLE)}")
    return tasks, own


@contextmanager
def scope(options: dict[str, Any]) -> Iterator[None]:
    """Make the model of an engine for several processes or `devices`, which it removes.

    Raises: ValueError for too many devices.
    """
    devices, processes = options.pop("devices", 1), options.get("processes")
    with ExitStack() as stack:
        if isinstance(processes, Workers):
            if devices > 1:
                invariant = "each of several processes trains on all the GPUs that it sees"
                remedy = "Leave --devices out, and choose GPUs with CUDA_VISIBLE_DEVICES."
                refuse(ValueError, "train", invariant, f"{devices} devices", remedy)
            stack.enter_context(noticing_ends())
            stack.enter_context(processes.strategy.scope())
            stack.enter_context(tf.variable_creator_scope(_create_variable))
        elif devices != 1:
            stack.enter_context(mirror(devices).scope())
        yield


def _create_variable(create: Callable[..., Any], **options: Any) -> Any:
    """Refuse a variable without entries, which TensorFlow cannot send to the other processes."""
    value: Any = options["initial_value"]
    value = value() if callable(value) else tf.convert_to_tensor(value)
    options["initial_value"] = value
    if 0 in value.shape:
        invariant = "in several processes of TensorFlow, every parameter must have entries"
        remedy = "In a LowRankBilinearClassifier, use a rank of 2 or more."
        refuse(ValueError, "train", invariant, f"the shape {tuple(value.shape)}", remedy)
    return create(**options)


def mirror(devices: int) -> Any:
    """The strategy of the first GPUs, or of logical CPU devices if there is no GPU.

    Raises: ValueError if there are fewer devices.
    """
    kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    if kind == "CPU":
        (cpu,) = tf.config.get_visible_devices(kind)
        one = tf.config.LogicalDeviceConfiguration()
        with suppress(RuntimeError):  # TensorFlow has already started
            tf.config.set_logical_device_configuration(cpu, [one] * devices)
    there = tf.config.list_logical_devices(kind)
    if not 1 <= devices <= len(there):
        invariant = f"devices must be 1 to {len(there)}, the number of {kind} devices"
        remedy = "The number of logical CPU devices is set before TensorFlow starts."
        refuse(ValueError, "train", invariant, f"{devices}", remedy if kind == "CPU" else "")
    # the collective operations of CPU devices fail in a second strategy of another size
    sums = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    return tf.distribute.MirroredStrategy([one.name for one in there[:devices]], sums)


@contextmanager
def noticing_ends() -> Iterator[None]:
    """Raise ConnectionError in place of TensorFlow's error if another process has ended."""
    try:
        yield
    except tf.errors.OpError as error:
        ended = isinstance(error, tf.errors.UnavailableError) or "Collective ops" in f"{error}"
        if not ended:
            raise
        raise lost_process() from error


class Replicas:
    """The copies of a model on the devices of this process.

    Args:
        strategy: the variables of the model were made in its scope.
    """

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.devices: Sequence[str] = strategy.extended.worker_devices
        self.count = len(self.devices)

    def run(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> Any:
        """Call a function in each replica, with its element of each argument."""

        def own(values: Sequence[Any]) -> Any:
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: values[context.replica_id_in_sync_group % self.count]
            )

        return self.strategy.run(function, [own(values) for values in arguments])

    def of_each(self, results: Any) -> list[Any]:
        """The results of each replica, from those of `run`."""
        local = self.strategy.experimental_local_results
        found = tf.nest.flatten(results)
        parts = [[None] * self.count if x is None else local(x) for x in found]
        return [tf.nest.pack_sequence_as(results, own) for own in zip(*parts, strict=True)]

    def divide(self, batch: Any, parts: Sequence[slice] | None = None) -> list[Any]:
        """A part of each array, as a tensor on each device; nearly equal ones unless given."""
        if parts is None:
            parts = slices(0, len(tf.nest.flatten(batch)[0]), self.count)
        found = []
        for device, part in zip(self.devices, parts, strict=True):
            with tf.device(device):
                found.append(tf.nest.map_structure(lambda x, own=part: tf.constant(x[own]), batch))
        return found

    def concatenate(self, function: Callable[[Any], Any], inputs: Sequence[Any]) -> Any:
        """The result of a function of a batch, whose parts are in the replicas."""
        results = self.of_each(self.run(function, inputs))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *results)

    def apply(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Update the variables of each replica; `gradients` are results of `run`."""

        def update(variable: Any, gradient: Any) -> None:
            optimizer.update_step(gradient, variable, optimizer.learning_rate)

        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                self.strategy.extended.update(variable.value, update, args=(gradient,))
        optimizer.iterations.assign_add(1)


def add_over_replicas(tensors: Any) -> Any:
    """The sums of tensors over the replicas of all processes; called in each of them."""
    own = tf.nest.flatten(tensors)
    # TensorFlow crashes for a tensor without entries
    places = [i for i, x in enumerate(own) if x is not None and x.shape.num_elements() != 0]
    context: Any = tf.distribute.get_replica_context()
    sums = context.all_reduce("SUM", [tf.identity(own[i]) for i in places])
    for place, total in zip(places, sums, strict=True):
        own[place] = total
    return tf.nest.pack_sequence_as(tensors, own)


def _adder(replicas: Replicas) -> Callable[[np.ndarray], np.ndarray]:
    """`Processes.add`, exact for float64, int64 and uint8."""

    def add_tensor(values: tf.Tensor) -> tf.Tensor:
        parts = [values, *[tf.zeros_like(values)] * (replicas.count - 1)]
        return replicas.of_each(replicas.run(add_over_replicas, parts))[0]

    sums = {
        dtype: tf.function(add_tensor, input_signature=[tf.TensorSpec((None,), dtype)])
        for dtype in ("float64", "int64")
    }

    def add(values: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        own = values.ravel()
        if values.dtype == np.uint8:  # two bytes for each, so that the sums of 257 processes fit
            own = np.append(own, np.zeros(-own.size % 4, np.uint8)).astype(np.uint16).view(np.int64)
        if own.size:
            with noticing_ends():
                own = sums[own.dtype.name](tf.constant(own)).numpy()
        if values.dtype == np.uint8:
            own = own.view(np.uint16)[: values.size].astype(np.uint8)
        return np.array(own).reshape(values.shape)

    return add
