"""The devices that share each batch, and the values on them."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ....contract import refuse
from ....models.jax import framework
from ....models.jax.bcnn import BCNN
from ...processes.jax import connected, without_stdout

DATA = "data"
CLASSIFIER = "classifier.weight", "classifier.bias"


class OneDevice:
    """The default device of one process, with the methods of `Devices`."""

    def __init__(self) -> None:
        self.own: list[Any] = [jax.devices()[0]]
        self.sharded: frozenset[str] = frozenset()
        self.placed: dict[str, tuple[jax.Array, jax.Array]] = {}

    def compile(
        self, function: Callable[..., Any], donate: Sequence[int] = (), batch: int | None = None
    ) -> Any:
        compiled = jax.jit(function, donate_argnums=tuple(donate))
        return compiled if batch is None else lambda _, *given: compiled(*given)

    def spread_batch(self, batch: Any, sizes: Sequence[int]) -> Any:
        return jax.tree.map(jnp.asarray, batch)

    def spread(self, values: Any) -> Any:
        return values

    def collect(self, values: Any) -> Any:
        return values

    def whole(self, values: Any) -> Any:
        return values

    def replicate(self, x: jax.Array) -> jax.Array:
        return x


class Devices(OneDevice):
    """A mesh of devices of all processes with one axis, over which batches are sharded.

    XLA divides a step between them, so that its result is that of one device: it adds the gradients
    and the statistics of BatchNorm layers itself. Between the steps each process has its own copy
    of every value, on its first device, except of those that are sharded.

    Args:
        count: number of devices of each process.
        sharded: names of values that are sharded by their last axis; the others are replicated.

    Raises: ValueError if this process has fewer devices.
    """

    def __init__(self, count: int, sharded: Collection[str] = ()) -> None:
        super().__init__()
        if count > jax.local_device_count():
            invariant = f"{count} devices must exist in each process"
            received = f"{jax.local_device_count()} of {jax.default_backend()}"
            remedy = "Pass fewer (--devices); JAX_NUM_CPU_DEVICES divides a CPU."
            refuse(ValueError, "train", invariant, received, remedy)
        self.processes = jax.process_count()
        of_process: list[list[Any]] = [[] for _ in range(self.processes)]
        for device in jax.devices():
            of_process[device.process_index].append(device)
        chosen = [device for devices in of_process for device in devices[:count]]
        self.mesh = Mesh(np.array(chosen), (DATA,), axis_types=(AxisType.Auto,))
        self.own = of_process[jax.process_index()][:count]
        self.sharded = frozenset(sharded)
        self.batch = NamedSharding(self.mesh, PartitionSpec(DATA))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self.gather = jax.jit(lambda x: x, out_shardings=self.replicated)
        if self.processes > 1:
            with connected(), without_stdout():
                jax.block_until_ready(
                    self.gather(self.spread_batch(np.zeros(1), (1,) * self.processes))
                )

    def compile(
        self, function: Callable[..., Any], donate: Sequence[int] = (), batch: int | None = None
    ) -> Any:
        """A compiled function of values on all devices.

        If the arguments `batch` and ``batch + 1`` are a batch, its sizes are the first argument of
        the compiled function.
        """
        if batch is None:
            return jax.jit(
                lambda *given: self._constrain(function(*given)), donate_argnums=tuple(donate)
            )

        def on_batch(sizes: tuple[int, ...], *given: Any) -> Any:
            own = self._without_padding(given[batch : batch + 2], sizes)
            return self._constrain(function(*given[:batch], *own, *given[batch + 2 :]))

        return jax.jit(on_batch, static_argnums=0, donate_argnums=tuple(i + 1 for i in donate))

    def replicate(self, x: jax.Array) -> jax.Array:
        """A value of a compiled function, whole on every device."""
        return jax.lax.with_sharding_constraint(x, self.replicated)

    def _constrain(self, values: Any) -> Any:
        """The results of a compiled function, replicated or sharded by name."""

        def constrained(path: tuple, x: jax.Array) -> jax.Array:
            return jax.lax.with_sharding_constraint(x, self._sharding(path, x.ndim))

        return jax.tree_util.tree_map_with_path(constrained, values)

    def spread_batch(self, batch: Any, sizes: Sequence[int]) -> Any:
        """Arrays of all images, of which `batch` has those of this process and `sizes` the numbers.

        Every device has equally many rows; those that are not used are 0.
        """
        rows = -(-max(sizes) // len(self.own)) * len(self.own)

        def spread(x: np.ndarray) -> jax.Array:
            own = np.zeros((rows, *x.shape[1:]), jax.dtypes.canonicalize_dtype(x.dtype))
            own[: len(x)] = x
            shape = self.processes * rows, *x.shape[1:]
            return jax.make_array_from_process_local_data(self.batch, own, shape)

        return jax.tree.map(spread, batch)

    def _without_padding(self, batch: Any, sizes: tuple[int, ...]) -> Any:
        rows = len(batch[1]) // self.processes
        if all(size == rows for size in sizes):
            return batch
        keep = np.concatenate([k * rows + np.arange(size) for k, size in enumerate(sizes)])
        constrain = jax.lax.with_sharding_constraint
        return jax.tree.map(lambda x: constrain(x[keep], self.batch), batch)

    def spread(self, values: Any) -> Any:
        """Values of this process as arrays on all devices; those that `collect` gave are reused."""

        def spread(path: tuple, value: jax.Array) -> jax.Array:
            key = jax.tree_util.keystr(path)
            if not any(value is x for x in self.placed.get(key, ())):
                self.placed[key] = value, self._place(value, self._sharding(path, value.ndim))
            return self.placed[key][1]

        return jax.tree_util.tree_map_with_path(spread, values)

    def _place(self, value: jax.Array, sharding: NamedSharding) -> jax.Array:
        if sharding.is_fully_replicated:
            copies = [jax.device_put(value, device) for device in self.own]
            return jax.make_array_from_single_device_arrays(value.shape, sharding, copies)
        whole = np.asarray(value)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: whole[index])

    def collect(self, values: Any) -> Any:
        """The copies of this process; sharded values stay as they are."""

        def own(path: tuple, x: jax.Array) -> jax.Array:
            value = x.addressable_data(0) if x.is_fully_replicated else x
            self.placed[jax.tree_util.keystr(path)] = value, x
            return value

        return jax.tree_util.tree_map_with_path(own, values)

    def whole(self, values: Any) -> Any:
        """The values on the first device of this process; all processes call it if some are
        sharded."""

        def own(path: tuple, x: jax.Array) -> jax.Array:
            if x.is_fully_replicated:
                return x
            value = self.gather(x).addressable_data(0)
            self.placed[jax.tree_util.keystr(path)] = value, x
            return value

        return jax.tree_util.tree_map_with_path(own, values)

    def _sharding(self, path: tuple, ndim: int) -> NamedSharding:
        if getattr(path[-1], "key", None) not in self.sharded:
            return self.replicated
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * (ndim - 1), DATA))


def make_devices(model: BCNN, count: int, processes: int, shard_classifier: bool) -> OneDevice:
    """So many devices of each process. Raises: the errors of the engine."""
    if shard_classifier:
        check_classifier(model, count * processes)
    sharded = CLASSIFIER if shard_classifier else ()
    return Devices(count, sharded) if count * processes > 1 else OneDevice()


def check_classifier(model: BCNN, devices: int) -> None:
    """Refuse one device, and a classifier whose classes the devices do not divide."""
    if devices == 1:
        invariant, remedy = "shard_classifier needs several devices", "Use --devices 8, or none."
        refuse(ValueError, "train", invariant, "one device", remedy)
    if not framework.is_linear(model.classifier):
        invariant, remedy = "shard_classifier needs a linear classifier", "Leave it out."
        refuse(ValueError, "train", invariant, type(model.classifier).__name__, remedy)
    if model.num_classes % devices:
        invariant = "shard_classifier needs a number of classes that the devices divide"
        received = f"{model.num_classes} classes, {devices} devices"
        remedy = "Use another number of devices, or leave it out."
        refuse(ValueError, "train", invariant, received, remedy)
