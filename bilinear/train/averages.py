"""Exponential moving averages of the weights during a run."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .engines import Engine
from .parameter_groups import Plan


class Averages:
    """The averages that an engine updates and that validation uses.

    Args:
        engine: of the run.
        limit: the largest decay, `Recipe.ema`; None: no averages.
    """

    def __init__(self, engine: Engine, limit: float | None) -> None:
        self._engine, self._limit = engine, limit
        self._names: list[str] = []
        self._own: dict[str, np.ndarray] | None = None

    def begin(self, plan: Plan, *, new: bool) -> None:
        """Choose the tensors of a phase; start their averages if it is new."""
        if self._limit is None:
            return
        changing, tensors = {*plan.trained, *plan.statistics}, self._engine.tensors().items()
        # integers, such as the tables of a user-defined backbone, have no average
        self._names = [k for k, v in tensors if k in changing and v.dtype.kind == "f"]
        if new:
            self._engine.average(self._names, 0.0)

    def update(self, steps: int) -> None:
        """Update the averages after a step; `steps` of the phase were before it."""
        if self._limit is not None:
            self._engine.average(self._names, min(self._limit, (1 + steps) / (10 + steps)))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The engine has the averages in place of its own tensors within the block."""
        if self._limit is None:
            yield
            return
        self._own, buffers = self._engine.tensors(), self._engine.buffers()
        self._engine.assign({name: buffers[f"average.{name}"] for name in self._names})
        try:
            yield
        finally:
            self._engine.assign(self._own)
            self._own = None

    def own_tensors(self) -> dict[str, np.ndarray]:
        """The tensors of the engine that training updates, also while the averages are in use."""
        return self._engine.tensors() if self._own is None else self._own
