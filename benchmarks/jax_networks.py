"""B-CNNs of plain Flax layers and the published formula, and steps of these and of ours."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bilinear.models import plans
from bilinear.models.plan_layers import pair

from .jax_formulas import bilinear_pool

namespace = importlib.import_module("bilinear.jax")


class Block(nnx.Module):
    """torchvision's ``BasicBlock`` or ``Bottleneck``."""

    def __init__(self, plan: plans.Block) -> None:
        self.body = nnx.Sequential(*map(_layer, plan.residual))
        self.shortcut = nnx.Sequential(*map(_layer, plan.downsample or ()))

    def __call__(self, x):
        return nnx.relu(self.body(x) + (self.shortcut(x) if self.shortcut.layers else x))


def _layer(plan: plans.Layer) -> Callable:
    empty: dict[str, Any] = {"kernel_init": nnx.initializers.zeros, "rngs": nnx.Rngs(0)}
    match plan:
        case plans.Conv(_, inputs, outputs, kernel, stride, padding, bias):
            sides = tuple((side, side) for side in pair(padding))
            return nnx.Conv(
                inputs, outputs, pair(kernel), stride, padding=sides, use_bias=bias, **empty
            )
        case plans.BatchNorm(_, channels):
            return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))
        case plans.MaxPool(_, kernel, stride, padding):
            around: Any = ((padding, padding),) * 2
            return lambda x: nnx.max_pool(x, (kernel,) * 2, (stride,) * 2, around)
        case plans.Relu():
            return nnx.relu
        case plans.Block():
            return Block(plan)
        case _:
            raise ValueError(plan)


class Network(nnx.Module):
    """A backbone, the published formula of the pooling, and a linear classifier."""

    def __init__(self, backbone: str, classes: int) -> None:
        self.backbone = nnx.Sequential(*map(_layer, plans.BACKBONES[backbone]))
        self.classifier = nnx.Linear(plans.CHANNELS[backbone] ** 2, classes, rngs=nnx.Rngs(0))

    def __call__(self, images):
        x = self.backbone(images)
        n, h, w, c = x.shape
        return self.classifier(bilinear_pool(x.reshape(n, h * w, c)))

    def variables(self) -> list[nnx.Variable]:
        """Variables in the order of torchvision."""
        return [v for layer in (*self.backbone.layers, self.classifier) for v in _variables(layer)]


def _variables(layer: Callable) -> list[nnx.Variable]:
    match layer:
        case nnx.BatchNorm():
            return [layer.scale, layer.bias, layer.mean, layer.var]
        case nnx.Conv() | nnx.Linear():
            return [layer.kernel, *([] if layer.bias is None else [layer.bias])]
        case Block():
            return [
                v for part in (*layer.body.layers, *layer.shortcut.layers) for v in _variables(part)
            ]
    return []


WAYS = {"jit": jax.jit}
"""The ways to run a network."""


def steps(
    how: str,
    backbone: str,
    classes: int,
    images,
    labels,
    *,
    training: bool,
    device: str = "cpu",
    half: bool = False,
) -> dict[str, Callable]:
    """Return the steps "ours", "plain" and "pooling" (only the pooling of ours).

    A training step returns the loss, an inference step the logits. Images are (N, H, W, 3). With
    `half`, weights and images are bfloat16.
    """
    del device  # JAX uses every GPU that it finds; for the CPU, the command hides them
    dtype = "bfloat16" if half else "float32"
    x, classes_of = jnp.asarray(images, dtype), jnp.asarray(labels)
    ours = namespace.BCNN(backbone, classes, dtype=dtype)
    plain = Network(backbone, classes)
    for own, other in zip(plain.variables(), ours.canonical().values(), strict=True):
        own[...] = jnp.array(other[...])  # a copy, because steps donate their arguments
    ours.eval()
    features = jnp.ones_like(jax.eval_shape(ours.feature_maps, x)[0])
    models = {"ours": ours, "plain": plain}
    for model in models.values():
        model.train() if training else model.eval()
    compiled = WAYS[how]
    pool = compiled(ours.pool)
    found = {who: _step(compiled, model, x, classes_of, training) for who, model in models.items()}
    if training:
        cotangent = jnp.ones_like(pool(features))
        pool = compiled(lambda m: jax.vjp(ours.pool, m)[1](cotangent))
    return found | {"pooling": lambda: jax.block_until_ready(pool(features))}


def _step(compiled, model, x, labels, training: bool) -> Callable:
    graph, learned, rest = nnx.split(model, nnx.Param, ...)
    if not training:
        run = compiled(lambda learned, rest, x: nnx.merge(graph, learned, rest, copy=True)(x))
        return lambda: jax.block_until_ready(run(learned, rest, x))

    def loss_of(learned, rest):
        merged = nnx.merge(graph, learned, rest, copy=True)
        scores = jax.nn.log_softmax(merged(x))
        *_, rest = nnx.split(merged, nnx.Param, ...)
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean(), rest

    def update(learned, momentum, rest):
        (loss, rest), slope = jax.value_and_grad(loss_of, has_aux=True)(learned, rest)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, slope)
        return loss, (jax.tree.map(lambda w, m: w - 1e-4 * m, learned, momentum), momentum, rest)

    run = compiled(update, donate_argnums=(0, 1, 2))
    state = learned, jax.tree.map(jnp.zeros_like, learned), rest

    def step():
        nonlocal state
        loss, state = run(*state)
        return jax.block_until_ready((loss, state))[0]

    return step
