"""All framework code of the tests: one driver per framework, with a common protocol.

Drivers take and return NumPy arrays (bfloat16 from ml_dtypes). Feature maps and images are
channels-last; parameters and their gradients have canonical names and layouts.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bilinear import testing

Array = np.ndarray

TF32 = os.environ.get("BILINEAR_TEST_TF32") == "1"
"""Whether float32 matrix products may use TensorFloat-32 on a GPU."""

Jvp = Callable[[Callable[..., Any], Sequence[Any], Sequence[Any]], Any]
Hvp = Callable[[Callable[..., Any], Sequence[Any], Sequence[Any], Any], Sequence[Any]]
Vmap = Callable[[Callable[..., Any], Sequence[Any]], Any]
Layer = Callable[..., tuple[Array, Sequence[Array]]]
"""(cotangent, channels-last maps, mask) -> descriptors, gradients."""


class Driver(Protocol):
    name: str
    modes: tuple[str, ...]
    """Ways to run an operator: "eager" first, then each compiler of the framework."""
    layouts: tuple[str, ...]
    """The memory or axis layouts that `BilinearPool` accepts."""

    def forward(
        self, op: str, arrays: Sequence[Array], options: Mapping[str, Any], *, mode: str = "eager"
    ) -> Array:
        """Apply the operator `op`; `options` may include a mask."""
        ...

    def vjp(
        self,
        op: str,
        cotangent: Array,
        arrays: Sequence[Array],
        options: Mapping[str, Any],
        *,
        mode: str = "eager",
    ) -> tuple[Array, ...]:
        """Return the gradient with respect to each of `arrays`."""
        ...

    def layer(
        self,
        name: str,
        cotangent: Array,
        maps: Sequence[Array],
        *,
        mask: Array | None = None,
        parameters: Mapping[str, Any] | None = None,
        layout: str = "",
        mode: str = "eager",
    ) -> tuple[Array, tuple[Array, ...]]:
        """Apply the layer `name` to channels-last maps; return descriptors and gradients."""
        ...

    def dynamic_layer(
        self, maps: Sequence[Array], mask: Array | None = None, *, layout: str = ""
    ) -> Layer:
        """Trace or compile `BilinearPool` once for all sizes, including batch and channels.

        `maps` and `mask` give only ranks and dtypes. Their sizes should differ from each other,
        because compilers may treat equal sizes as one symbol.
        """
        ...

    # Transforms take and return framework arrays; `call` converts from and to NumPy.

    jvps: Mapping[str, Jvp]
    """Forward derivatives: (function, arguments, tangents) -> tangent of the result."""
    hvps: Mapping[str, Hvp]
    """Second derivatives: (function, arguments, tangents, cotangent) -> derivative of
    ``Jᵀ cotangent`` along the tangents, for each argument."""
    vmaps: Mapping[str, Vmap]
    """Maps over axis 0 of every argument: (function, arguments) -> results."""
    global_settings: Mapping[str, Callable[[], AbstractContextManager[Any]]]
    """Global settings of the framework that must not change an operator's results."""
    wrappers: Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]
    """Function wrappers such as checkpointing and compilers, also nested."""

    checks: Mapping[str, Callable[[Callable[..., Any], Sequence[Any]], Any]]
    """The framework's gradient checkers, which raise if finite differences disagree."""

    def call(
        self, transform: Callable[..., Any], op: str, options: Mapping[str, Any], *groups: Any
    ) -> Any:
        """Return ``transform(function, *groups)`` with NumPy arrays in and out.

        `function` is the operator with `options` bound (including a mask). Each of `groups` is an
        array or a sequence of arrays.
        """
        ...

    def call_with_wrong_type(self) -> None:
        """Call an operator with an argument that is not an array of this framework."""
        ...

    def pool(self, **parameters: Any) -> Any:
        """Return ``BilinearPool(**parameters)``."""
        ...

    def check_pool_copies(self) -> list[str]:
        """Check that copies of a `BilinearPool` (pickling, transforms, …) give equal results."""
        ...

    def model(self, backbone: Any, num_classes: int, **options: Any) -> Any:
        """Return a `BCNN`, in training mode if the framework has modes."""
        ...

    def logits(self, model: Any, images: Array, *, training: bool = False) -> Array: ...

    def descriptors(self, model: Any, images: Array) -> Array: ...

    def feature_maps(self, model: Any, images: Array) -> tuple[Array, ...]:
        """Return channels-last feature maps in evaluation mode."""
        ...

    def gradients(
        self, model: Any, images: Array, cotangent: Array, *, training: bool
    ) -> tuple[Array, dict[str, Array], Array]:
        """Return logits, gradients of ⟨cotangent, logits⟩ by canonical name, and of the images."""
        ...

    def tensors(self, model: Any) -> dict[str, Array]:
        """Return all parameters and running statistics by canonical name, in canonical layout."""
        ...

    def assign(self, model: Any, tensors: Mapping[str, Array]) -> None:
        """Set tensors by canonical name, in canonical layout."""
        ...

    def custom_network(self, channels: int, *, seed: int = 0) -> Any:
        """Return a small feature extractor written directly in the framework."""
        ...

    def custom_feature_maps(self, channels: int, channels_b: int, *, seed: int = 0) -> Any:
        """Return a custom network that gives two feature maps, of two successive convolutions."""
        ...

    def export(self, model: Any, images: Array, folder: Path) -> dict[str, Array]:
        """Return the logits after each of the framework's ways to export and reload a model."""
        ...

    copies: Mapping[str, Callable[[Any], Any]]
    """Ways to copy a model."""

    def sgd_step(self, model: Any, images: Array, labels: Array, state: Any, **sgd: float) -> Any:
        """Run one SGD step on the mean cross-entropy, and return the new optimizer state."""
        ...

    def momentum(self, model: Any, state: Any) -> dict[str, Array]:
        """Return the SGD buffers by canonical name, in the form that `save` accepts."""
        ...

    def momentum_arrays(self, model: Any, state: Any) -> dict[str, Array]:
        """Return the SGD buffers by canonical name, in canonical layout."""
        ...

    def resume(self, model: Any, buffers: Mapping[str, Any], **sgd: float) -> Any:
        """Return the state of `sgd_step` from the buffers of ``load(path, momentum=True)``."""
        ...

    def save(self, model: Any, path: Path, **options: Any) -> None: ...

    def load(self, path: Path, **options: Any) -> Any: ...


class Constant:
    """A hashable wrapper of an option that is a tuple with arrays."""

    def __init__(self, value: Any) -> None:
        self.value = value
        arrays = [np.asarray(field) for field in value]
        self.key = type(value), tuple((a.dtype.str, a.shape, a.tobytes()) for a in arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def freeze(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return a hashable form of all options except the mask."""
    items = sorted((k, v) for k, v in options.items() if k != "mask")
    return tuple((k, Constant(v) if hasattr(v, "_asdict") else v) for k, v in items)


def thaw(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return {k: v.value if isinstance(v, Constant) else v for k, v in options}


def kit_driver(driver: Driver, *, tf32: bool = False) -> testing.Driver:
    """Return the driver of a framework for the public test kit."""

    def jvp(way: Jvp, op: str, tangents: Sequence[Array], arrays: Sequence[Array], options):
        return driver.call(way, op, options, arrays, tangents)

    return testing.Driver(
        driver.name,
        driver.forward,
        driver.vjp,
        jvps={name: functools.partial(jvp, way) for name, way in driver.jvps.items()},
        layer=driver.layer,
        modes=driver.modes,
        layouts=driver.layouts,
        refuses=True,
        tf32=tf32,
    )
