"""Operators and chains of operators: their results by the reference, and their error bounds."""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .. import reference
from ..contract import L2_EPS
from .cases import Case


@functools.cache
def options_of(op: str) -> dict[str, Any]:
    """Return the options of an operator with their defaults."""
    parameters = inspect.signature(getattr(reference, op)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def bounds_of(op: str) -> ModuleType:
    """Return the file of an operator in ``ops/``."""
    return importlib.import_module(f"{__package__}.ops.{op}")


@dataclass(frozen=True)
class Operator:
    """A call of an operator. Its results have error bounds in the arithmetic `acc`, if given."""

    name: str
    case: Case

    def value(self, acc: str | None = None) -> Any:
        if acc is not None:
            return bounds_of(self.name).forward(self._with_defaults(), acc)
        return np.asarray(getattr(reference, self.name)(*self.case.double(), **self.case.options))

    def gradients(self, cotangent: Any, acc: str | None = None) -> Sequence[Any]:
        """Return the gradient of each array; `cotangent` is `Bounded` if `acc` is given."""
        if acc is not None:
            return bounds_of(self.name).vjp(self._with_defaults(), cotangent, acc)
        vjp = getattr(reference, f"{self.name}_vjp")
        return vjp(cotangent, *self.case.double(), **self.case.options)

    def _with_defaults(self) -> Case:
        return Case(self.case.arrays, options_of(self.name) | self.case.options)


@dataclass(frozen=True)
class Reshape:
    """The row-major reshape of an array, with or without error bounds."""

    array: Any
    shape: tuple[int, ...]

    def value(self, acc: str | None = None) -> Any:
        return self.array.reshape(self.shape)

    def gradients(self, cotangent: Any, acc: str | None = None) -> Sequence[Any]:
        return [cotangent.reshape(self.array.shape)]


@dataclass(frozen=True)
class Chain:
    """An operator, and steps that are each applied to the result of the one before."""

    first: Any
    steps: Sequence[Callable[[Any], Any]]
    order: Sequence[int] | None = None
    """Positions of the gradients to return in those of the first operator; default: all."""

    def value(self, acc: str | None = None) -> Any:
        return self._applied(acc)[-1].value(acc)

    def gradients(self, cotangent: Any, acc: str | None = None) -> Sequence[Any]:
        first, *later = self._applied(acc)
        for applied in reversed(later):
            (cotangent,) = applied.gradients(cotangent, acc)
        gradients = first.gradients(cotangent, acc)
        return gradients if self.order is None else [gradients[i] for i in self.order]

    def _applied(self, acc: str | None) -> list[Any]:
        applied = [self.first]
        for step in self.steps:
            applied.append(step(applied[-1].value(acc)))
        return applied


def operator(name: str, arrays: Sequence[Any], parameters: Mapping[str, Any]) -> Operator:
    """Return an operator with those of `parameters` that are its options."""
    options = {k: v for k, v in parameters.items() if k in options_of(name)}
    return Operator(name, Case(tuple(arrays), options))


def step(name: str, parameters: Mapping[str, Any]) -> Callable[[Any], Operator]:
    return lambda array: operator(name, [array], parameters)


def reshape(shape: tuple[int, ...]) -> Callable[[Any], Reshape]:
    return lambda array: Reshape(array, shape)


def root_and_norm(parameters: Mapping[str, Any], *between: Callable[[Any], Any]) -> list[Callable]:
    """Return the last steps of most descriptors, with other steps between root and norm."""
    norm = {**parameters, "eps": parameters.get("l2_eps", L2_EPS)}
    return [step("signed_sqrt", parameters), *between, step("l2_normalize", norm)]
