"""The driver of a backend: its functions, and a declaration of what it supports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import reference
from .cases import DTYPES
from .subjects import LAYERS, OPERATORS

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Driver:
    """A backend as the battery calls it, with NumPy arrays in and out.

    ``forward(op, arrays, options)`` returns the result of the operator `op`. `arrays` are its
    positional arguments, such as ``(x,)`` or ``(x, y)``, and `options` its keyword arguments,
    including a boolean ``mask``. bfloat16 is the dtype of ml_dtypes.
    ``vjp(op, cotangent, arrays, options)`` returns the gradient with respect to each of `arrays`.
    Arrays are read-only copies and not always contiguous.

    Leave out what the backend does not support: the battery reports it as not covered.
    Both functions are also called with ``mode=`` if `modes` has more entries than ``"eager"``.
    """

    name: str
    forward: Callable[..., Array]
    vjp: Callable[..., Sequence[Array]] | None = None
    jvps: Mapping[str, Callable[..., Array]] = field(default_factory=dict)
    """Forward derivatives: name -> (op, tangents, arrays, options) -> ``J v``. They are compared
    with `vjp` in float64.
    """
    layer: Callable[..., tuple[Array, Sequence[Array]]] | None = None
    """``(name, cotangent, maps, mask=, parameters=, layout=, mode=)`` -> descriptors, gradients.

    Maps, mask and gradients are channels-last in every layout. Gradients of learned weights follow
    those of the maps, in the order of the weights' names. The weights have the dtype of the maps.
    """
    operators: Sequence[str] = OPERATORS
    layers: Sequence[str] = tuple(LAYERS)
    """Layers that `layer` supports."""
    dtypes: Sequence[str] = tuple(DTYPES)
    modes: Sequence[str] = ("eager",)
    """Ways to run an operator: "eager" first, then each compiler."""
    layouts: Sequence[str] = ("channels_last",)
    """Memory or axis layouts that `layer` supports."""
    refuses: bool = False
    """Whether invalid input raises the errors of `bilinear.contract`."""
    tf32: bool = False
    """Whether float32 matrix products use TensorFloat-32, which has wider bounds."""

    def __post_init__(self) -> None:
        for kind, names, known in (
            ("operators", self.operators, OPERATORS),
            ("dtypes", self.dtypes, DTYPES),
            ("layers", self.layers, LAYERS),
        ):
            if isinstance(names, str) or not names or set(names) - set(known):
                raise ValueError(
                    f"Driver: {kind} must be some of ({', '.join(known)}); got {names!r}. "
                    f"Name those that {self.name} has."
                )
        if not self.modes or self.modes[0] != "eager":
            raise ValueError(
                f"Driver: the first of modes must be 'eager'; got {self.modes!r}. "
                "It is how an operator is run when no mode is given."
            )

    def __repr__(self) -> str:
        return f"Driver({self.name!r})"

    def value(self, op: str, arrays, options: Mapping[str, Any], mode: str = "eager") -> Array:
        result = self.forward(op, _copy_arrays(arrays), _copy_options(options), **_mode(mode))
        return self._check_array("forward", result)

    def gradients(
        self, op: str, cotangent: Array, arrays, options: Mapping[str, Any], mode: str = "eager"
    ) -> list[Array]:
        assert self.vjp is not None
        (copy,) = _copy_arrays((cotangent,))
        results = self.vjp(op, copy, _copy_arrays(arrays), _copy_options(options), **_mode(mode))
        return self._check_gradients("vjp", results, len(arrays))

    def layer_and_gradients(
        self, name: str, cotangent: Array, maps, count: int, **given: Any
    ) -> tuple[Array, list[Array]]:
        assert self.layer is not None
        (copy,) = _copy_arrays((cotangent,))
        result, gradients = self.layer(name, copy, _copy_arrays(maps), **_copy_options(given))
        return self._check_array("layer", result), self._check_gradients("layer", gradients, count)

    def missing(self) -> list[str]:
        """Describe what the battery cannot test of this backend."""
        float64 = "float64" in self.dtypes
        lacks = [f"operator {op}" for op in OPERATORS if op not in self.operators]
        lacks += [f"dtype {dtype}" for dtype in DTYPES if dtype not in self.dtypes]
        lacks += [] if float64 or "float32" in self.dtypes else ["laws (no float64 or float32)"]
        lacks += ["gradients (no vjp)"] if self.vjp is None else []
        if not (self.jvps and self.vjp and float64):
            lacks += ["forward derivatives (no jvps, or no vjp or float64 to hold them to)"]
        lacks += [f"layer {n}" for n in LAYERS if self.layer is None or n not in self.layers]
        lacks += ["compilers (no mode but eager)"] if len(self.modes) < 2 else []
        lacks += ["refusals of bad input"] if not self.refuses else []
        return lacks

    def _check_array(self, function: str, result: Any) -> Array:
        if not isinstance(result, np.ndarray):
            raise TypeError(
                f"{self.name}: {function} must return NumPy arrays; got a "
                f"{type(result).__name__}. Convert it with numpy.asarray."
            )
        return result

    def _check_gradients(self, function: str, results: Any, count: int) -> list[Array]:
        if not isinstance(results, list | tuple) or len(results) != count:
            received = f"{len(results)} of them" if isinstance(results, list | tuple) else results
            raise TypeError(
                f"{self.name}: {function} must return one gradient for each array, {count} here, "
                f"in a list or tuple; got {received}. One stream has one, of x."
            )
        return [self._check_array(function, result) for result in results]


def _copy_arrays(arrays) -> tuple[Array, ...]:
    """Return read-only copies with the same memory order."""
    copies = tuple(a.copy(order="K") for a in arrays)
    for copy in copies:
        copy.flags.writeable = False
    return copies


def _copy_options(options: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {k: _copy_arrays((v,))[0] for k, v in options.items() if isinstance(v, np.ndarray)}
    return {**options, **arrays}


def _mode(mode: str) -> dict[str, str]:
    """Omit the argument in eager mode, for drivers without modes."""
    return {} if mode == "eager" else {"mode": mode}


def _reference(op, arrays, options):
    return np.asarray(getattr(reference, op)(*arrays, **options))


def _reference_vjp(op, cotangent, arrays, options):
    gradients = getattr(reference, f"{op}_vjp")(cotangent, *arrays, **options)
    return [np.asarray(gradient) for gradient in gradients]


REFERENCE = Driver("reference", _reference, _reference_vjp, refuses=True)
"""The driver of the reference itself."""
