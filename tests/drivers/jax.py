"""The driver of JAX and Flax."""

import copy
import dataclasses
import functools
import os
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

import bilinear.jax as namespace
from bilinear.testing.parity import check_layer

from .. import xla
from . import TF32, Driver, freeze, kit_driver, thaw, to_canonical
from . import _jax_training as trainer
from . import _jax_transforms as transforms
from ._jax_layers import descriptor_and_gradients, in_dtype

if os.environ.get("BILINEAR_TEST_DEVICE", "cpu") == "cpu":
    jax.config.update("jax_platforms", "cpu")
elif not TF32:  # networks follow JAX's setting, which rounds float32 products on a GPU
    jax.config.update("jax_default_matmul_precision", "highest")

# Run eagerly, JAX compiles each primitive for each shape, and again under each global setting.
# Its cache recognizes what became the same program, which is most of the time of these tests.
jax.config.update("jax_compilation_cache_dir", os.environ["BILINEAR_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# `nox -s parity` lets XLA optimize less, but not what users compile as a whole.
OPTIMIZED = xla.options(optimize=True)


def to_arrays(arrays):
    return [jnp.asarray(a) for a in arrays]


def _value(op, static, masks, arrays):
    return getattr(namespace, op)(*arrays, **static, **masks)


def _pullback(op, static, masks, arrays, cotangent):
    return jax.vjp(lambda *a: _value(op, static, masks, a), *arrays)[1](cotangent)


@functools.cache
def _compiled(function, *static):
    call = functools.partial(function, static[0], thaw(static[1]))
    return jax.jit(call, compiler_options=OPTIMIZED if "XLA_FLAGS" in os.environ else None)


def _run(function, op, options, *rest, mode):
    """Call `function(op, static options, masks, …)`, eagerly or compiled for each set of shapes."""
    masks = {k: jnp.asarray(v) for k, v in options.items() if k == "mask"}
    static = {k: v for k, v in options.items() if k != "mask"}
    if mode == "eager":
        return function(op, static, masks, *rest)
    return _compiled(function, op, freeze(static))(masks, *rest)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Holder:
    pool: Any
    weight: Any


class Module(nnx.Module):
    def __init__(self, pool):
        self.pool = pool
        self.weight = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return self.pool(x) * self.weight[...]


@nnx.jit
def _logits(model, images):
    return model(images)


@nnx.jit
def _gradients(model, images, cotangent):
    def loss(model, images):
        logits = model(images)
        return (logits * cotangent).sum(), logits

    differentiate = nnx.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, logits), (by_path, dx) = differentiate(model, images)
    return logits, by_path, dx


def _updated(model):
    """Return a new model with the state of `model`."""
    twin = namespace.BCNN("resnet18", model.classifier.bias.shape[0], seed=None)
    nnx.update(twin, nnx.state(model))
    return twin


class Maps(nnx.Module):
    def __init__(self, channels, channels_b, rngs):
        self.first = nnx.Conv(3, channels, (3, 3), padding="VALID", rngs=rngs)
        self.second = nnx.Conv(channels, channels_b, (3, 3), padding="VALID", rngs=rngs)

    def __call__(self, x):
        x = self.first(x)
        return x, self.second(x)


class Jax(Driver):
    name = "jax"
    modes = ("eager", "compiled")
    layouts = ("channels_last",)

    copies = Driver.copies | {
        "nnx.clone": nnx.clone,
        "split and merge": lambda m: nnx.merge(*nnx.split(m)),
    }

    def to_native(self, array):
        return jnp.asarray(array)

    def to_array(self, native):
        return np.asarray(native)

    def call_with_wrong_type(self):
        namespace.signed_sqrt([1.0])

    def check_pool_copies(self):
        pool = namespace.BilinearPool("sum", eps=1e-5, l2_eps=1e-6)
        ways = {
            "copy.deepcopy": copy.deepcopy,
            "pickle": lambda p: pickle.loads(pickle.dumps(p)),
            "jit": jax.jit,
            "argument of jit": lambda p: lambda x: jax.jit(lambda p, x: p(x))(p, x),
            "checkpoint": jax.checkpoint,
            "tree.map": lambda p: jax.tree.map(lambda leaf: None, p),
            "member of a pytree": lambda p: (
                lambda x: jax.jit(lambda h, x: h.pool(x) * h.weight)(Holder(p, 1.0), x)
            ),
            "member of a module": Module,
            "split and merge": lambda p: nnx.merge(*nnx.split(Module(p))),
            "module in nnx.jit": lambda p: lambda x: nnx.jit(lambda m, x: m(x))(Module(p), x),
        }
        assert repr(pool) == (
            "BilinearPool(reduction='sum', eps=1e-05, l2_eps=1e-06, packed=False, root='signed', "
            "slope_eps=None, norm='floor')"
        )
        x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
        given = {"parameters": {"reduction": "sum", "eps": 1e-5, "l2_eps": 1e-6}}
        for name, way in ways.items():

            def run(cotangent, maps, way=way):
                result, pull = jax.vjp(way(pool), *to_arrays(maps))
                return np.asarray(result), list(map(np.asarray, pull(jnp.asarray(cotangent))))

            check_layer(KIT_DRIVER, "BilinearPool", (x,), **given, mode=name, run=run)
        return [*ways, "repr"]

    def forward(self, op, arrays, options, *, mode="eager"):
        return np.asarray(_run(_value, op, options, to_arrays(arrays), mode=mode))

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        inputs = to_arrays(arrays), jnp.asarray(cotangent)
        gradients = _run(_pullback, op, options, *inputs, mode=mode)
        return tuple(np.asarray(g) for g in gradients)

    def layer(self, name, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        del layout  # there is only one
        run = descriptor_and_gradients
        run = nnx.jit(run) if mode == "compiled" else run
        masks = {} if mask is None else {"mask": jnp.asarray(mask)}
        pool = in_dtype(getattr(namespace, name)(**parameters or {}), maps[0].dtype)
        result, gradients = run(pool, masks, to_arrays(maps), jnp.asarray(cotangent))
        return np.asarray(result), tuple(np.asarray(g) for g in gradients)

    def dynamic_layer(self, maps, mask=None, *, layout=""):
        names = ["n, h, w, c", "n, h, w, d"][: len(maps)]
        names = {"mask": None if mask is None else "n, h, w"}, names, f"n, c*{names[-1][-1]}"
        like = {"mask": mask}, list(maps), maps[0][:, 0, 0]
        run = jax.jit(functools.partial(descriptor_and_gradients, namespace.BilinearPool()))
        call = export.export(run)(*export.symbolic_args_specs(like, names)).call
        return lambda cotangent, maps, mask: jax.tree.map(
            np.asarray, call({"mask": mask}, list(maps), cotangent)
        )

    def logits(self, model, images, *, training=False):
        model.train() if training else model.eval()
        return np.asarray(_logits(model, jnp.asarray(images)))

    def descriptors(self, model, images):
        model.eval()
        return np.asarray(model.descriptors(images))

    def feature_maps(self, model, images):
        model.eval()
        return tuple(np.asarray(m) for m in model.feature_maps(images))

    def gradients(self, model, images, cotangent, *, training):
        model.train() if training else model.eval()
        logits, by_path, dx = _gradients(model, jnp.asarray(images), jnp.asarray(cotangent))
        named = trainer.variables(model, by_path)
        return np.asarray(logits), to_canonical(model, named), np.asarray(dx)

    def custom_network(self, channels, *, seed=0):
        rngs = nnx.Rngs(seed)
        return nnx.Sequential(
            nnx.Conv(3, channels, (3, 3), padding="VALID", rngs=rngs),
            nnx.BatchNorm(channels, rngs=rngs),
            nnx.relu,
        )

    def custom_feature_maps(self, channels, channels_b, *, seed=0):
        return Maps(channels, channels_b, nnx.Rngs(seed))

    def export(self, model, images, folder):
        model.eval()
        graphdef, state = nnx.split(model)
        sizes = export.symbolic_shape("n, 32*h, 32*w, 3")
        arguments = jax.ShapeDtypeStruct(sizes, images.dtype)
        program = export.export(jax.jit(nnx.merge(graphdef, state)))(arguments)
        (folder / "model.bin").write_bytes(program.serialize())
        reloaded = export.deserialize((folder / "model.bin").read_bytes())
        pure = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
        twin = _updated(model)
        twin.eval()
        x = jnp.asarray(images)
        return {
            "jax.export": np.asarray(reloaded.call(x)),
            "split, merge and jax.jit": np.asarray(pure(state, x)),
            "nnx.update": np.asarray(twin(x)),
        }

    def sgd_step(self, model, images, labels, state, *, lr, momentum=0.0, weight_decay=0.0):
        model.train()
        if state is None:
            state = trainer.optimizer(model, momentum, weight_decay)
        trainer.set_rate(state, lr)
        trainer.step(model, state, jnp.asarray(images), jnp.asarray(labels))
        return state

    def momentum(self, model, state):
        return trainer.trace(model, state)

    def resume(self, model, buffers, *, momentum, weight_decay=0.0):
        state = trainer.optimizer(model, momentum, weight_decay)
        for name, variable in trainer.trace(model, state).items():
            variable[...] = buffers[name]
        return state

    def without_64_bits(self):
        """A block with ``jax_enable_x64`` off, as it is by default outside of these tests."""
        module = jax if hasattr(jax, "enable_x64") else jax.experimental  # in older releases
        return module.enable_x64(False)


DRIVER = Jax(namespace, transforms)
KIT_DRIVER = kit_driver(DRIVER)
