"""The functions of a training step in TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ...parameter_groups import Plan

Gradients = list[list[Any]]
"""By parameter group; None for a parameter that nothing depends on."""


def differentiate(
    plan: Plan,
    variables: Sequence[Sequence[Any]],
    logits: Callable[[Any], tf.Tensor],
    inputs: Any,
    labels: tf.Tensor,
    weight: tf.Tensor | None = None,
) -> tuple[tf.Tensor, Gradients]:
    """[loss, correct predictions] of some images, and the gradients of the loss.

    The loss is the weighted mean over these images, or their part of the mean over images of the
    total `weight`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for group in variables for variable in group])
        found = upcast(logits(inputs))
        value = loss(plan, found, labels, weight)
    correct = tf.math.count_nonzero(tf.argmax(found, -1) == labels, dtype=value.dtype)
    gradients: Any = tape.gradient(value, [[v.value for v in group] for group in variables])
    return tf.stack([value, correct]), gradients


def loss(
    plan: Plan, logits: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor | None = None
) -> tf.Tensor:
    """The cross-entropy, as in `differentiate`."""
    if plan.class_weights is None and not plan.label_smoothing:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        own = None
    else:
        classes: Any = logits.shape[-1]
        weights = tf.constant(plan.class_weights or (1.0,) * classes, logits.dtype)
        rest = plan.label_smoothing / classes
        hard = 1 - plan.label_smoothing + rest
        targets = tf.one_hot(labels, classes, hard, rest, dtype=logits.dtype)
        losses = -tf.reduce_sum(weights * targets * tf.nn.log_softmax(logits), -1)
        own = tf.reduce_sum(tf.gather(weights, labels))
    if weight is not None:
        return tf.reduce_sum(losses) / tf.cast(weight, losses.dtype)
    return tf.reduce_mean(losses) if own is None else tf.reduce_sum(losses) / own


def clip(plan: Plan, gradients: Gradients) -> Gradients:
    """Scale the gradients so that their norm is at most that of the plan."""
    if plan.clip_norm is None:
        return gradients
    norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
    scale = tf.minimum(tf.ones_like(norm), plan.clip_norm / (norm + 1e-6))
    return [[None if g is None else scale * g for g in group] for group in gradients]


def add_share(total: Gradients | None, gradients: Gradients, share: float) -> Gradients:
    """Add ``share`` of the gradients of a part of a batch."""
    scaled = [[None if g is None else share * g for g in group] for group in gradients]
    return scaled if total is None else add(total, scaled)


def add(first: Any, second: Any) -> Any:
    """The sums of the tensors of two equal structures; None stays None."""
    return tf.nest.map_structure(lambda x, y: None if x is None else x + y, first, second)


def specs(maps: Sequence[Any]) -> tuple[tf.TensorSpec, ...]:
    """Of such feature maps, with any batch size."""
    return tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in maps)


def upcast(logits: tf.Tensor) -> tf.Tensor:
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
