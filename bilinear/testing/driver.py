"""How the kit reaches a backend: the functions it offers, and what it says it can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import reference
from .cases import DTYPES
from .subjects import LAYERS, OPERATORS

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Driver:
    """A backend, as the battery calls it: NumPy arrays in, NumPy arrays out.

    ``forward(op, arrays, options)`` is the operator called `op` of ``(x,)`` or ``(x, y)``; among
    the options are its keyword arguments, a boolean ``mask`` too. bfloat16 is that of ml_dtypes.
    ``vjp(op, cotangent, arrays, options)`` gives the gradient with respect to each of the arrays.
    Arrays may be read-only and need not be contiguous; neither function may change them.

    What a backend lacks is left out of the driver: the battery then lists it as not covered.
    Both functions are also called with ``mode=`` where `modes` has more than ``"eager"``.
    """

    name: str
    forward: Callable[..., Array]
    vjp: Callable[..., Sequence[Array]] | None = None
    jvps: Mapping[str, Callable[..., Array]] = field(default_factory=dict)
    """Ways to push a tangent forward: name -> (op, tangents, arrays, options) -> ``J v``."""
    layer: Callable[..., tuple[Array, Sequence[Array]]] | None = None
    """``(layer's name, cotangent, maps, mask=, parameters=, layout=, mode=)`` -> descriptors and
    gradients; maps, mask and gradients are channels-last, whatever the layout the layer is run in.
    """
    operators: Sequence[str] = OPERATORS
    layers: Sequence[str] = tuple(LAYERS)
    """Those that `layer` knows."""
    dtypes: Sequence[str] = tuple(DTYPES)
    modes: Sequence[str] = ("eager",)
    """How an operator can be run: "eager" first, then by each compiler."""
    layouts: Sequence[str] = ("channels_last",)
    """The memory or axis layouts that `layer` knows."""
    refuses: bool = False
    """Whether bad input is refused in the words of `bilinear.contract`."""
    tf32: bool = False
    """Whether matrix products of float32 are computed in TensorFloat-32: bounds then know it."""

    def __post_init__(self) -> None:
        for kind, own, known in (
            ("operator", self.operators, OPERATORS),
            ("dtype", self.dtypes, DTYPES),
            ("layer", self.layers, LAYERS),
        ):
            if unknown := [name for name in own if name not in known]:
                known_names = ", ".join(known)
                raise ValueError(
                    f"Driver: every {kind} must be one of {known_names}; got {unknown[0]!r}. "
                    f"Leave out what {self.name} does not have."
                )

    def value(self, op: str, arrays, options: Mapping[str, Any], mode: str = "eager") -> Array:
        return self.forward(op, arrays, options, **_mode(mode))

    def gradients(
        self, op: str, cotangent: Array, arrays, options: Mapping[str, Any], mode: str = "eager"
    ) -> Sequence[Array]:
        if self.vjp is None:
            raise TypeError(f"{self.name}: its driver has no vjp")
        return self.vjp(op, cotangent, arrays, options, **_mode(mode))

    def missing(self) -> list[str]:
        """What the battery cannot test of this backend, in words."""
        lacks = [f"operator {op}" for op in OPERATORS if op not in self.operators]
        lacks += [f"dtype {dtype}" for dtype in DTYPES if dtype not in self.dtypes]
        lacks += ["gradients (no vjp)"] if self.vjp is None else []
        lacks += ["forward derivatives (no jvps)"] if not self.jvps else []
        lacks += [f"layer {n}" for n in LAYERS if self.layer is None or n not in self.layers]
        lacks += ["compilers (no mode but eager)"] if len(self.modes) < 2 else []
        lacks += ["refusals of bad input"] if not self.refuses else []
        return lacks


def _mode(mode: str) -> dict[str, str]:
    """A driver of eager functions alone need not know of modes."""
    return {} if mode == "eager" else {"mode": mode}


def _reference(op, arrays, options):
    return np.asarray(getattr(reference, op)(*arrays, **options))


def _reference_vjp(op, cotangent, arrays, options):
    return getattr(reference, f"{op}_vjp")(cotangent, *arrays, **options)


REFERENCE = Driver("reference", _reference, _reference_vjp, refuses=True)
"""The specification itself, held to its own laws."""
