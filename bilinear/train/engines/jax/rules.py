"""The loss and the optimizers of the JAX engine, as pure functions."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...parameter_groups import Plan

Values = dict[str, jax.Array]
"""Canonical name -> value in Flax's layout."""


def cross_entropy(plan: Plan, logits: jax.Array, labels: jax.Array, weight: Any) -> jax.Array:
    """The part that some images have in the loss of a batch of this total weight."""
    if plan.class_weights is None and not plan.label_smoothing:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.sum() / weight
    classes = logits.shape[-1]
    weights = jnp.asarray(plan.class_weights or (1.0,) * classes, logits.dtype)
    targets = optax.smooth_labels(
        jax.nn.one_hot(labels, classes, dtype=logits.dtype), plan.label_smoothing
    )
    return -(weights * targets * jax.nn.log_softmax(logits)).sum() / weight


def update_step(
    plan: Plan,
    rule: optax.GradientTransformation,
    trained: Values,
    gradients: Values,
    state: Any,
    rates: jax.Array,
) -> tuple[Values, Any]:
    """The parameters after an update, and the new state of the optimizer."""
    if plan.clip_norm is not None:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
        scale = jnp.minimum(1, plan.clip_norm / (norm + 1e-6))
        gradients = {name: scale * g for name, g in gradients.items()}
    updates: Any
    updates, state = rule.update(gradients, state, trained)
    updated = {
        name: weight - rates[plan.trained[name]].astype(weight.dtype) * updates[name]
        for name, weight in trained.items()
    }
    return updated, state


def read_state(state: Any, plan: Plan) -> dict[str, Any]:
    """The buffers of each kind in Optax's state."""
    kinds: dict[str, Any] = {}
    for part in state:
        if isinstance(part, optax.TraceState):
            kinds["momentum"] = part.trace
        if isinstance(part, optax.ScaleByAdamState):
            kinds |= {"exp_avg": part.mu, "exp_avg_sq": part.nu}
            kinds["step"] = dict.fromkeys(plan.trained, part.count)
    return kinds


def restore_state(part: Any, given: Mapping[str, Values]) -> Any:
    """A part of Optax's state with the buffers of each kind."""
    if isinstance(part, optax.TraceState):
        trace: Any = part.trace
        return optax.TraceState(trace | given["momentum"])
    if isinstance(part, optax.ScaleByAdamState) and given["step"]:
        count = next(iter(given["step"].values())).astype(jnp.int32)
        mu: Any = part.mu
        nu: Any = part.nu
        return optax.ScaleByAdamState(count, mu | given["exp_avg"], nu | given["exp_avg_sq"])
    return part


def make_optimizer(plan: Plan) -> optax.GradientTransformation:
    """Torch's AdamW or SGD up to the factor of the learning rates, which the step applies."""
    decays = [
        optax.add_decayed_weights(decay, {name: name in names for name in plan.trained})
        for names, decay in zip(plan.groups, plan.decays, strict=True)
        if decay
    ]
    if plan.adamw is not None:
        return optax.chain(optax.scale_by_adam(*plan.adamw), *decays)
    momentum = [optax.trace(plan.momentum)] if plan.momentum else []
    return optax.chain(optax.identity(), *decays, *momentum)  # chain refuses to be empty


def upcast(logits: jax.Array) -> jax.Array:
    return logits if logits.dtype == jnp.float64 else logits.astype(jnp.float32)
