"""The transforms and compilers of PyTorch: tables of its driver."""

import functools
import os
import shutil
from typing import Any

import torch
import torch.utils.checkpoint

DEVICE = os.environ.get("BILINEAR_TEST_DEVICE", "cpu")


def _vjp(function, arguments, cotangent):
    return torch.func.vjp(function, *arguments)[1](cotangent)


def _reverse_over_reverse(function, arguments, tangents, cotangent):
    arguments = [a.clone().requires_grad_() for a in arguments]
    dummy = cotangent.clone().requires_grad_()
    gradients = torch.autograd.grad(function(*arguments), arguments, dummy, create_graph=True)
    inner = sum((g * v).sum() for g, v in zip(gradients, tangents, strict=True))
    # the Hessian is symmetric; that of a linear function is 0, which autograd leaves out
    return torch.autograd.grad(inner, arguments, materialize_grads=True)


def _forward_over_reverse(function, arguments, tangents, cotangent):
    return torch.func.jvp(
        lambda *a: _vjp(function, a, cotangent), tuple(arguments), tuple(tangents)
    )[1]


def _hessian(function, arguments, tangents, cotangent):
    indices = tuple(range(len(arguments)))
    blocks = torch.func.hessian(lambda *a: (function(*a) * cotangent).sum(), indices)(*arguments)
    return [
        sum(torch.tensordot(b, v, v.ndim) for b, v in zip(row, tangents, strict=True))
        for row in blocks
    ]


def _dual_numbers(function, arguments, tangents):
    with torch.autograd.forward_ad.dual_level():
        duals = map(torch.autograd.forward_ad.make_dual, arguments, tangents)
        return torch.autograd.forward_ad.unpack_dual(function(*duals)).tangent


def _double_vjp(function, arguments, tangents):
    """J v by differentiating the gradient, which is linear in its cotangent."""
    shape = function(*arguments)
    pull = torch.func.vjp(function, *arguments)[1]
    return torch.func.vjp(pull, torch.zeros_like(shape))[1](tuple(tangents))[0]


def _own_check(check, function, arguments):
    leaves = [a.clone().requires_grad_() for a in arguments]
    check(function, leaves, check_batched_grad=True)
    return leaves[0].detach()


def _checkpointed(function):
    return lambda *a: torch.utils.checkpoint.checkpoint(function, *a, use_reentrant=False)


def _autocast_to(dtype):
    return lambda: torch.autocast(DEVICE, dtype)


def compiled(function: Any, **options: Any) -> Any:
    """`torch.compile` in one graph.

    Inductor takes seconds for each graph. It compiles the singular points of
    `tests.operators.suite`, and everything with ``--full``. Otherwise compilation stops after
    AOTAutograd, which traces and differentiates the graph.
    """
    backend = "inductor" if os.environ.get("BILINEAR_TEST_FULL") == "1" else "aot_eager"
    return torch.compile(function, fullgraph=True, **{"backend": backend, **options})


_compiled = functools.cache(compiled)


@functools.cache
def _compiled_in_autocast(function: Any) -> Any:
    """Compile under autocast, where the operators compute products in another way."""
    traced = compiled(function)

    def inside(*arguments, **options):
        with torch.autocast(DEVICE, torch.bfloat16):
            return traced(*arguments, **options)

    return inside


COMPILERS = {}
if shutil.which("c++") or shutil.which("g++"):
    COMPILERS = {"compiled": _compiled, "compiled under autocast": _compiled_in_autocast}

JVPS = {
    "func.jvp": lambda f, a, v: torch.func.jvp(f, tuple(a), tuple(v))[1],
    "dual numbers": _dual_numbers,
    "double vjp": _double_vjp,
    "jvp in vmap": lambda f, a, v: torch.func.vmap(lambda *v: torch.func.jvp(f, tuple(a), v)[1])(
        *(t[None] for t in v)
    )[0],
}
HVPS = {
    "reverse over reverse": _reverse_over_reverse,
    "forward over reverse": _forward_over_reverse,
    "func.hessian": _hessian,
}
VMAPS = {
    "func.vmap": lambda f, a: torch.func.vmap(f)(*a),
    "nested vmap": lambda f, a: torch.func.vmap(torch.func.vmap(f))(*(t[None] for t in a))[0],
}
GLOBAL_SETTINGS = {
    "autocast bfloat16": _autocast_to(torch.bfloat16),
    "autocast float16": _autocast_to(torch.float16),
}
WRAPPERS = {
    "checkpoint": _checkpointed,
}
if COMPILERS:
    JVPS["func.jvp in compile"] = compiled(JVPS["func.jvp"])
    HVPS["func.hessian in compile"] = compiled(_hessian)
    VMAPS["func.vmap in compile"] = compiled(VMAPS["func.vmap"])
    WRAPPERS["compiled, sizes dynamic"] = lambda f: compiled(f, dynamic=True)

CHECKS = {
    "gradcheck": lambda f, a: _own_check(torch.autograd.gradcheck, f, a),
    "gradgradcheck": lambda f, a: _own_check(torch.autograd.gradgradcheck, f, a),
}
