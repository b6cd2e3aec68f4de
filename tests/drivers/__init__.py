"""All framework code of the tests: one driver per framework, with a common base class.

Drivers take and return NumPy arrays (bfloat16 from ml_dtypes). Feature maps and images are
channels-last; parameters and their gradients have canonical names and layouts.
"""

import copy
import functools
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

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


class Driver:
    """What the tests do in a framework; a method without a body is the framework's own."""

    name: str
    modes: tuple[str, ...]
    """Ways to run an operator: "eager" first, then each compiler of the framework."""
    layouts: tuple[str, ...]
    """The memory or axis layouts that `BilinearPool` accepts."""

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

    copies: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
        {"copy.deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}
    )
    """Ways to copy a model."""

    def __init__(self, namespace: ModuleType, transforms: ModuleType) -> None:
        """`transforms` has the tables of transforms, which take and return framework arrays."""
        self.namespace = namespace
        for kind in ("jvps", "hvps", "vmaps", "global_settings", "wrappers", "checks"):
            setattr(self, kind, getattr(transforms, kind.upper()))

    def to_native(self, array: Array) -> Any:
        """Return an array of the framework."""
        ...

    def to_array(self, native: Any) -> Array: ...

    def to_native_map(self, array: Array) -> Any:
        """Return a channels-last feature map in the layout of the framework."""
        return self.to_native(array)

    def native_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of an operator as the framework takes them."""
        return {k: self.to_native(v) if k == "mask" else v for k, v in options.items()}

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

    def call(
        self, transform: Callable[..., Any], op: str, options: Mapping[str, Any], *groups: Any
    ) -> Any:
        """Return ``transform(function, *groups)`` with NumPy arrays in and out.

        `function` is the operator with `options` bound (including a mask). Each of `groups` is an
        array or a sequence of arrays.
        """
        bound = functools.partial(getattr(self.namespace, op), **self.native_options(options))
        converted = (
            self.to_native(g) if isinstance(g, np.ndarray) else list(map(self.to_native, g))
            for g in groups
        )
        result = transform(bound, *converted)
        several = isinstance(result, list | tuple)
        return list(map(self.to_array, result)) if several else self.to_array(result)

    def call_with_wrong_type(self) -> None:
        """Call an operator with an argument that is not an array of this framework."""
        ...

    def pool(self, **parameters: Any) -> Any:
        return self.namespace.BilinearPool(**parameters)

    def apply_layer(self, name: str, parameters: Mapping[str, Any], maps: Sequence[Array]) -> Array:
        """Return the result of a new layer for channels-last maps."""
        layer = getattr(self.namespace, name)(**parameters)
        return self.to_array(layer(*map(self.to_native_map, maps)))

    def check_pool_copies(self) -> list[str]:
        """Check that copies of a `BilinearPool` (pickling, transforms, …) give equal results."""
        ...

    def model(self, backbone: Any, num_classes: int, **options: Any) -> Any:
        """Return a `BCNN`, in training mode if the framework has modes."""
        return self.namespace.BCNN(backbone, num_classes, **options)

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
        return to_canonical(model, model.canonical())

    def assign(self, model: Any, tensors: Mapping[str, Array]) -> None:
        """Set tensors by canonical name, in canonical layout."""
        model.assign(tensors)

    def custom_network(self, channels: int, *, seed: int = 0) -> Any:
        """Return a small feature extractor written directly in the framework."""
        ...

    def custom_feature_maps(self, channels: int, channels_b: int, *, seed: int = 0) -> Any:
        """Return a custom network that gives two feature maps, of two successive convolutions."""
        ...

    def export(self, model: Any, images: Array, folder: Path) -> dict[str, Array]:
        """Return the logits after each of the framework's ways to export and reload a model."""
        ...

    def sgd_step(self, model: Any, images: Array, labels: Array, state: Any, **sgd: float) -> Any:
        """Run one SGD step on the mean cross-entropy, and return the new optimizer state."""
        ...

    def momentum(self, model: Any, state: Any) -> dict[str, Array]:
        """Return the SGD buffers by canonical name, in the form that `save` accepts."""
        ...

    def momentum_arrays(self, model: Any, state: Any) -> dict[str, Array]:
        """Return the SGD buffers by canonical name, in canonical layout."""
        return to_canonical(model, self.momentum(model, state))

    def resume(self, model: Any, buffers: Mapping[str, Any], **sgd: float) -> Any:
        """Return the state of `sgd_step` from the buffers of ``load(path, momentum=True)``."""
        ...

    def save(self, model: Any, path: Path, **options: Any) -> None:
        self.namespace.save(model, path, **options)

    def load(self, path: Path, **options: Any) -> Any:
        return self.namespace.load(path, **options)


def to_canonical(model: Any, variables: Mapping[str, Any]) -> dict[str, Array]:
    """Return variables of a model by canonical name, in canonical layout."""
    return {name: model.to_canonical(name, variable) for name, variable in variables.items()}


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
