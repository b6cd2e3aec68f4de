"""The transforms of JAX: tables of its driver."""

import contextlib

import jax
import jax.numpy as jnp
from jax import export, test_util


def _dot(jacobians, tangents):
    pairs = zip(jacobians, tangents, strict=True)
    return sum(jnp.tensordot(j, v, v.ndim) for j, v in pairs)


def _everywhere(arguments):
    return tuple(range(len(arguments)))


def _double_vjp(function, arguments, tangents):
    """J v by differentiating the gradient, which is linear in its cotangent."""
    result, pull = jax.vjp(function, *arguments)
    return jax.vjp(pull, jnp.zeros_like(result))[1](tuple(tangents))[0]


def _scalar(function, cotangent):
    return lambda *a: (function(*a) * cotangent).sum()


def _gradient(function, arguments, cotangent):
    return jax.grad(_scalar(function, cotangent), _everywhere(arguments))


def _reverse_over_reverse(function, arguments, tangents, cotangent):
    def inner(*a):
        gradients = _gradient(function, arguments, cotangent)(*a)
        return sum((g * v).sum() for g, v in zip(gradients, tangents, strict=True))

    return jax.grad(inner, _everywhere(arguments))(*arguments)  # the Hessian is symmetric


def _forward_over_reverse(function, arguments, tangents, cotangent):
    gradient = _gradient(function, arguments, cotangent)
    return jax.jvp(gradient, tuple(arguments), tuple(tangents))[1]


def _reverse_over_forward(function, arguments, tangents, cotangent):
    def along(*a):
        return jax.jvp(_scalar(function, cotangent), a, tuple(tangents))[1]

    return jax.grad(along, _everywhere(arguments))(*arguments)


def _hessian(function, arguments, tangents, cotangent):
    indices = _everywhere(arguments)
    blocks = jax.hessian(_scalar(function, cotangent), indices)(*arguments)
    return [_dot(row, tangents) for row in blocks]


def _of_checkpoint(function, *rest):
    return _forward_over_reverse(jax.checkpoint(function), *rest)


def _jvp(function, arguments, tangents):
    return jax.jvp(function, tuple(arguments), tuple(tangents))[1]


def _jacfwd(function, arguments, tangents):
    return _dot(jax.jacfwd(function, _everywhere(arguments))(*arguments), tangents)


def _jacrev(function, arguments, tangents):
    return _dot(jax.jacrev(function, _everywhere(arguments))(*arguments), tangents)


def _jvp_in_vmap(function, arguments, tangents):
    along = jax.vmap(lambda *v: _jvp(function, arguments, v))
    return along(*(t[None] for t in tangents))[0]


def _in_jit(transform):
    return jax.jit(transform, static_argnums=0)


def _nested_vmap(function, arguments):
    return jax.vmap(jax.vmap(function))(*(a[None] for a in arguments))[0]


@contextlib.contextmanager
def _no_promotion():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def _scanned(function):
    return lambda *a: jax.lax.scan(lambda c, _: (c, function(*a)), None, length=1)[1][0]


def _exported(function):
    """Export with a symbolic batch size, serialize and reload."""

    def call(*arrays):
        (n,) = export.symbolic_shape("n")
        batch = arrays[0].shape[0]  # weights have no batch axis
        shapes = [
            jax.ShapeDtypeStruct((n, *a.shape[1:]) if a.shape[0] == batch else a.shape, a.dtype)
            for a in arrays
        ]
        mask = getattr(function, "keywords", {}).get("mask")
        if mask is not None:  # the mask is a constant with a fixed batch size
            shapes = arrays
        program = export.export(jax.jit(function))(*shapes)
        return export.deserialize(program.serialize()).call(*arrays)

    return call


JVPS = {
    "jvp": _jvp,
    "linearize": lambda f, a, v: jax.linearize(f, *a)[1](*v),
    "double vjp": _double_vjp,
    "jvp in vmap": _jvp_in_vmap,
    "jvp of jit": lambda f, a, v: _jvp(jax.jit(f), a, v),
    "jvp of checkpoint": lambda f, a, v: _jvp(jax.checkpoint(f), a, v),
    "jvp in jit": _in_jit(_jvp),
    "jacfwd in jit": _in_jit(_jacfwd),
    "jacrev in jit": _in_jit(_jacrev),
}
HVPS = {
    "forward over reverse": _forward_over_reverse,
    "forward over reverse in jit": _in_jit(_forward_over_reverse),
    "forward over reverse of checkpoint in jit": _in_jit(_of_checkpoint),
    "reverse over reverse in jit": _in_jit(_reverse_over_reverse),
    "reverse over forward in jit": _in_jit(_reverse_over_forward),
    "hessian in jit": _in_jit(_hessian),
}
VMAPS = {
    "vmap": lambda f, a: jax.vmap(f)(*a),
    "nested vmap": _nested_vmap,
    "vmap in jit": lambda f, a: jax.jit(jax.vmap(f))(*a),
    "vmap of jit": lambda f, a: jax.vmap(jax.jit(f))(*a),
    "lax.map": lambda f, a: jax.lax.map(lambda one: f(*one), tuple(a)),
}
GLOBAL_SETTINGS = {
    "no promotion": _no_promotion,
    "debug_nans": lambda: jax.debug_nans(True),
    "disable_jit": jax.disable_jit,
    "full precision set by the user": lambda: jax.default_matmul_precision("highest"),
}
WRAPPERS = {
    "checkpoint": jax.checkpoint,
    "checkpoint in jit": lambda f: jax.jit(jax.checkpoint(f)),
    "jit in checkpoint": lambda f: jax.checkpoint(jax.jit(f)),
    "scan": _scanned,
    "export": _exported,
}


def _check_grads(function, arguments):
    """Check first and second derivatives, forward and reverse, with JAX's tolerances."""
    test_util.check_grads(function, tuple(arguments), order=2)
    return arguments[0]


CHECKS = {"check_grads": _check_grads}
