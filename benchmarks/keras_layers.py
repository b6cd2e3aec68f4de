"""The layers of `bilinear.keras` beside the native layers of the same framework.

A training step is the forward pass, and the gradients of the feature maps and of learned weights.
TensorFlow has no other layers than those of Keras: there, ``layer(x)`` is measured beside
``layer.call(x)``, which leaves out all that Keras does around a layer.
"""

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .calls import LAYERS, Size, make_call
from .measure import Spread, in_new_process, ratios, time_in_turn
from .report import spread, table

SIZE, QUICK = Size(4, 784, 256), Size(2, 49, 32)
SIZES = {
    "LowRankBilinearPool": Size(4, 196, 256),
    "HierarchicalBilinearPool": Size(4, 196, 256),
    "OuterMaxPool": Size(4, 49, 256),
}
"""Smaller sizes for layers that take longest."""
TINY = Size(1, 4, 8)
"""A call whose time is that of Python."""
MODES = {"torch": ("eager",), "tensorflow": ("eager", "tf.function"), "jax": ("jit",)}
PASSES = ("inference", "training step")


def use_backend(framework: str) -> None:
    """Let Keras compute with a framework in this process, which has not imported it."""
    os.environ["KERAS_BACKEND"] = framework


def runs(framework: str, name: str, size: Size, mode: str, which: str) -> dict[str, Callable]:
    """The call of the Keras layer and of the native one, which wait for their results."""
    call = make_call(name, size)
    own = call.layer or {}
    made = getattr(importlib.import_module("bilinear.keras"), name)(**own)
    if framework == "tensorflow":
        return _tensorflow(made, call, mode, which)
    native = getattr(importlib.import_module(f"bilinear.{framework}"), name)
    if framework == "torch":
        pair = made, native(**own, data_format="channels_last")
        return {k: _torch(layer, call, which) for k, layer in zip(KEYS, pair, strict=True)}
    return _jax(made, native(**own), call, which)


KEYS = "keras", "native"


def _torch(layer: Any, call: Any, which: str) -> Callable[[], Any]:
    torch = importlib.import_module("torch")
    maps = [torch.from_numpy(array).requires_grad_() for array in call.arrays]
    wanted = [*maps, *(p for p in layer.parameters() if p.requires_grad)]
    cotangent = torch.from_numpy(call.cotangent)

    def forward() -> Any:
        with torch.no_grad():
            return layer(*maps)

    def step() -> Any:
        return torch.autograd.grad(layer(*maps), wanted, cotangent)

    return forward if which == "inference" else step


def _tensorflow(layer: Any, call: Any, mode: str, which: str) -> dict[str, Callable]:
    tf = importlib.import_module("tensorflow")
    maps, cotangent = [tf.constant(array) for array in call.arrays], tf.constant(call.cotangent)

    def step(forward: Callable, *maps: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(maps)
            result = forward(*maps)
        return tape.gradient(result, [*maps, *layer.trainable_variables], cotangent)

    found = {}
    for key, forward in zip(KEYS, (layer, layer.call), strict=True):
        f = forward if which == "inference" else functools.partial(step, forward)
        found[key] = functools.partial(f if mode == "eager" else tf.function(f), *maps)
    return found


def _jax(layer: Any, native: Any, call: Any, which: str) -> dict[str, Callable]:
    jax, nnx = (importlib.import_module(name) for name in ("jax", "flax.nnx"))
    maps, cotangent = [jax.numpy.asarray(array) for array in call.arrays], call.cotangent
    graph, weights, rest = nnx.split(native, nnx.Param, ...)
    layer(*maps)  # which builds it
    fixed = [v.value for v in layer.non_trainable_variables]

    def keras_call(learned: Any, maps: Any) -> Any:
        return layer.stateless_call(learned, fixed, *maps)[0]

    def native_call(learned: Any, maps: Any) -> Any:
        return nnx.merge(graph, learned, rest)(*maps)

    found, learned = {}, ([v.value for v in layer.trainable_variables], weights)
    for key, f, values in zip(KEYS, (keras_call, native_call), learned, strict=True):

        def step(values: Any, maps: Any, f: Callable = f) -> Any:
            return jax.vjp(f, values, maps)[1](cotangent)

        run = jax.jit(f if which == "inference" else step)
        found[key] = lambda run=run, values=values: jax.block_until_ready(run(values, maps))
    return found


def measure(
    framework: str, sizes: Mapping[str, Size], seconds: float, threads: int | None = None
) -> list[dict]:
    """Measure the rows of one framework, in this process. `sizes` has the layers by name."""
    subject = importlib.import_module(f"{__package__}.{framework}")
    if threads is not None:
        subject.threads(threads)
    found = []
    for name, size in sizes.items():
        for mode in MODES[framework]:
            row: dict[str, Any] = {"framework": subject.VERSION, "layer": name, "mode": mode}
            row["size"] = str(size)
            for which in PASSES:
                pair = runs(framework, name, size, mode, which)
                times = time_in_turn(pair, seconds, rounds=(7, 200))
                row[which] = ratios(times, *KEYS)
                row[f"{which}, ms"] = 1e3 * Spread.of(times["native"]).median
            if mode == "eager":
                times = time_in_turn(
                    runs(framework, name, TINY, mode, "inference"), seconds, rounds=(100, 1000)
                )
                keras, native = (Spread.of(times[key]).median for key in KEYS)
                row["call, µs"] = 1e6 * (keras - native)
            found.append(row)
            print(".", end="", flush=True, file=sys.stderr)
    return found


def section(given: argparse.Namespace) -> list[dict]:
    """Measure every layer on each backend of Keras, each in a process of its own."""
    names, found = [name for name in LAYERS if name in (given.operator or LAYERS)], []
    sizes = {name: QUICK if given.quick else SIZES.get(name, SIZE) for name in names}
    for framework in given.framework:
        arguments = framework, sizes, given.seconds, given.threads
        found += in_new_process(
            measure, *arguments, first=functools.partial(use_backend, framework)
        )
    return found


def tables(found: list[dict]) -> list[str]:
    """Ratio of the Keras layer to the native one, and what a call of it costs besides."""
    head = ["framework", "mode", "layer", "size"]
    head += [text for which in PASSES for text in (f"{which}, native ms", "÷ native")]
    rows = []
    for row in found:
        cells = [row[key] for key in ("framework", "mode", "layer", "size")]
        for which in PASSES:
            cells += [f"{row[f'{which}, ms']:.2f}", spread(*row[which])]
        rows.append([*cells, f"{row['call, µs']:.0f}" if "call, µs" in row else ""])
    return table([*head, "µs per call"], rows)
