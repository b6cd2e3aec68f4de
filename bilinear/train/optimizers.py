"""Optimizers and the schedules of their learning rates, as data."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from .validation import Count, Natural, NonNegative, Positive, reject, validated

Beta = Annotated[NonNegative, Field(lt=1)]


@validated
class Optimizer:
    """An optimizer with PyTorch's formula, in every framework.

    ``"sgd"``: ``g ← g + wd·w``, ``buffer ← momentum·buffer + g``, ``w ← w − lr·buffer``.

    ``"adamw"``: ``w ← w − lr·wd·w``, ``m ← β₁·m + (1 − β₁)·g``, ``v ← β₂·v + (1 − β₂)·g²``,
    ``w ← w − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + epsilon)`` in update ``t`` of the phase,
    from 1; ``m`` and ``v`` start at 0.

    Args:
        name: ``"sgd"`` (the default) or ``"adamw"``, whose learning rates may be at most 0.1.
        momentum: of ``"sgd"``, at least 0, below 1. Default: 0.9.
        betas: of ``"adamw"``, β₁ and β₂, each at least 0, below 1. Default: 0.9 and 0.999.
        epsilon: of ``"adamw"``, above 0. Default: 1e-8.
        clip_norm: before the update, the gradient of all trained parameters together is multiplied
            by ``min(1, clip_norm / (norm + 1e-6))``, as PyTorch's ``clip_grad_norm_`` does.
            Default: None, no limit.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    momentum: Beta = 0.9
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    clip_norm: Positive | None = None


@validated
class Schedule:
    """The factor on the learning rates of a phase.

    It follows from the progress of the phase and its validations and has no state, so that a
    resumed run has the learning rates of an undisturbed one.

    Args:
        kind: ``"constant"`` (the default), ``"step"``, ``"cosine"``, which is
            ``(1 + cos(π · step / steps)) / 2``, or ``"plateau"``, which drops as PyTorch's
            ``ReduceLROnPlateau`` does with a threshold of 0.
        milestones: of ``"step"`` only: the epochs of the phase, from 0, at which `factor` applies.
        factor: of ``"step"`` and ``"plateau"``, between 0 and 1. Default: 0.1.
        patience: of ``"plateau"``: epochs without improvement before a drop. Default: 3.
        warmup: steps over which the learning rates rise linearly. Default: 0.
    """

    kind: Literal["constant", "step", "cosine", "plateau"] = "constant"
    milestones: Annotated[tuple[Count, ...], Field(validate_default=True)] = ()
    factor: Annotated[Positive, Field(lt=1)] = 0.1
    patience: Natural = 3
    warmup: Natural = 0

    @field_validator("milestones")
    @classmethod
    def _check_milestones(cls, milestones: tuple, info: ValidationInfo) -> tuple:
        if info.data.get("kind") == "step" and not milestones:
            reject("one epoch or more for kind 'step'")
        if info.data.get("kind", "step") != "step" and milestones:
            reject(f"empty for kind {info.data['kind']!r}")
        return milestones

    def scale(self, *, epoch: int, step: int, steps: int, history: Sequence[float]) -> float:
        """Return the factor at `step` of the `steps` of a phase, in `epoch`, after `history`."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.kind == "step":
            return rise * self.factor ** sum(epoch >= start for start in self.milestones)
        if self.kind == "cosine":
            return rise * (1 + math.cos(math.pi * step / steps)) / 2
        best, bad, drops = math.inf, 0, 0
        for value in history if self.kind == "plateau" else ():
            best, bad = (value, 0) if value < best else (best, bad + 1)
            if bad > self.patience:
                bad, drops = 0, drops + 1
        return rise * self.factor**drops
