"""PyTorch, as the tests see it."""

import copy
import functools
import os
import pickle
import shutil
from typing import Any

import ml_dtypes
import numpy as np
import torch
import torch.utils.checkpoint

import bilinear.torch as door

COMPILER = shutil.which("c++") or shutil.which("g++")
DEVICE = os.environ.get("BILINEAR_TEST_DEVICE", "cpu")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

torch.set_num_threads(int(os.environ.get("BILINEAR_TEST_THREADS", "2")))
torch._dynamo.config.recompile_limit = 64  # one function meets every dtype and shape here
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True


def to_tensor(x: np.ndarray) -> torch.Tensor:
    """Shares the memory of `x`, strides included, where the device is the CPU."""
    x = x if x.flags.writeable else x.copy(order="K")
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(DEVICE)
    return torch.from_numpy(x).to(DEVICE)


def to_array(t: torch.Tensor) -> np.ndarray:
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def _vjp(function, arguments, cotangent):
    return torch.func.vjp(function, *arguments)[1](cotangent)


def _reverse_over_reverse(function, arguments, tangents, cotangent):
    arguments = [a.clone().requires_grad_() for a in arguments]
    dummy = cotangent.clone().requires_grad_()
    gradients = torch.autograd.grad(function(*arguments), arguments, dummy, create_graph=True)
    inner = sum((g * v).sum() for g, v in zip(gradients, tangents, strict=True))
    return torch.autograd.grad(inner, arguments)  # the Hessian is symmetric


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


def _channels_first(maps: np.ndarray) -> torch.Tensor:
    return to_tensor(maps).movedim(-1, 1)


@functools.cache
def _compiled(function: Any) -> Any:
    return torch.compile(function, fullgraph=True, dynamic=None)


@functools.cache
def _compiled_in_autocast(function: Any) -> Any:
    """Traced while autocast is on, where the product is taken another way."""
    compiled = torch.compile(function, fullgraph=True)

    def inside(*arguments, **options):
        with torch.autocast(DEVICE, torch.bfloat16):
            return compiled(*arguments, **options)

    return inside


COMPILERS = {"compiled": _compiled, "compiled under autocast": _compiled_in_autocast}


class Torch:
    name = "torch"
    modes = ("eager", *COMPILERS) if COMPILER else ("eager",)
    layouts = ("contiguous", "channels_last")

    jvps = {  # noqa: RUF012
        "func.jvp": lambda f, a, v: torch.func.jvp(f, tuple(a), tuple(v))[1],
        "dual numbers": _dual_numbers,
        "double vjp": _double_vjp,
        "jvp in vmap": lambda f, a, v: torch.func.vmap(
            lambda *v: torch.func.jvp(f, tuple(a), v)[1]
        )(*(t[None] for t in v))[0],
    }
    hvps = {  # noqa: RUF012
        "reverse over reverse": _reverse_over_reverse,
        "forward over reverse": _forward_over_reverse,
        "func.hessian": _hessian,
    }
    vmaps = {  # noqa: RUF012
        "func.vmap": lambda f, a: torch.func.vmap(f)(*a),
        "nested vmap": lambda f, a: torch.func.vmap(torch.func.vmap(f))(*(t[None] for t in a))[0],
    }
    ambients = {  # noqa: RUF012
        "autocast bfloat16": _autocast_to(torch.bfloat16),
        "autocast float16": _autocast_to(torch.float16),
    }
    shells = {  # noqa: RUF012
        "checkpoint": _checkpointed,
    }
    if COMPILER:
        shells["compiled, sizes dynamic"] = lambda f: torch.compile(f, fullgraph=True, dynamic=True)

    checks = {  # noqa: RUF012
        "gradcheck": lambda f, a: _own_check(torch.autograd.gradcheck, f, a),
        "gradgradcheck": lambda f, a: _own_check(torch.autograd.gradgradcheck, f, a),
    }

    def call(self, transform, op, options, *groups):
        bound = functools.partial(getattr(door, op), **self._options(options))
        converted = [
            to_tensor(g) if isinstance(g, np.ndarray) else [to_tensor(a) for a in g] for g in groups
        ]
        result = transform(bound, *converted)
        return to_array(result) if isinstance(result, torch.Tensor) else list(map(to_array, result))

    def refused_kind(self):
        door.outer_pool([[[1.0]]])

    def pool(self, **parameters):
        return door.BilinearPool(**parameters)

    def pool_survives(self):
        pool = door.BilinearPool("sum", eps=1e-5, l2_eps=1e-6)
        x = torch.randn(2, 3, 4, 5)
        ways = {
            "copy.deepcopy": copy.deepcopy,
            "pickle": lambda p: pickle.loads(pickle.dumps(p)),
            "eval": lambda p: p.eval(),
            "double": lambda p: p.double(),
            "checkpoint": _checkpointed,
        }
        assert repr(pool) == "BilinearPool(reduction='sum', eps=1e-05, l2_eps=1e-06)"
        for name, way in ways.items():
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(way(pool)(leaf).sum(), leaf)
            leaf = x.clone().requires_grad_()
            (expected,) = torch.autograd.grad(pool(leaf).sum(), leaf)
            assert torch.equal(way(pool)(x), pool(x)), name
            assert torch.equal(gradient, expected), name
        return [*ways, "repr"]

    def _function(self, op, mode):
        function = getattr(door, op)
        return COMPILERS[mode](function) if mode in COMPILERS else function

    def _options(self, options):
        return {k: to_tensor(v) if k == "mask" else v for k, v in options.items()}

    def forward(self, op, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a) for a in arrays]
        return to_array(self._function(op, mode)(*tensors, **self._options(options)))

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a).requires_grad_() for a in arrays]
        result = self._function(op, mode)(*tensors, **self._options(options))
        return tuple(map(to_array, torch.autograd.grad(result, tensors, to_tensor(cotangent))))

    def layer(self, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        pool = door.BilinearPool(**parameters or {})
        pool = COMPILERS[mode](pool) if mode in COMPILERS else pool
        return self._pooled(pool, layout, cotangent, maps, mask)

    def layer_of_any_size(self, maps, mask=None, *, layout=""):
        pool = torch.compile(door.BilinearPool(), fullgraph=True, dynamic=True)
        ones = np.ones((maps[0].shape[0], maps[0].shape[-1] * maps[-1].shape[-1]), maps[0].dtype)
        self._pooled(pool, layout, ones, maps, mask)
        once = torch.compiler.set_stance("fail_on_recompile")
        return once(functools.partial(self._pooled, pool, layout))

    def _pooled(self, pool, layout, cotangent, maps, mask):
        memory = LAYOUTS[layout or "contiguous"]
        tensors = []
        for array in maps:
            tensor = _channels_first(array)
            tensor = tensor.contiguous(memory_format=memory) if tensor.ndim == 4 else tensor
            tensors.append(tensor.detach().requires_grad_())
        keep = None if mask is None else to_tensor(mask)
        result = pool(*tensors, mask=keep)
        gradients = torch.autograd.grad(result, tensors, to_tensor(cotangent))
        return to_array(result), tuple(to_array(g.movedim(1, -1)) for g in gradients)

    def model(self, backbone, num_classes, **options):
        return door.BCNN(backbone, num_classes, **options).to(DEVICE)

    def logits(self, model, images, *, training=False):
        model.train(training)
        with torch.no_grad():
            return to_array(model(_channels_first(images)))

    def descriptors(self, model, images):
        with torch.no_grad():
            return to_array(model.eval().descriptors(_channels_first(images)))

    def feature_maps(self, model, images):
        with torch.no_grad():
            maps = model.eval().feature_maps(_channels_first(images))
        return tuple(to_array(m.movedim(1, -1)) for m in maps)

    def gradients(self, model, images, cotangent, *, training):
        model.train(training)
        x = _channels_first(images).requires_grad_()
        names, parameters = zip(*model.named_parameters(), strict=True)
        logits = model(x)
        *by_name, dx = torch.autograd.grad(logits, [*parameters, x], to_tensor(cotangent))
        gradients = dict(zip(names, map(to_array, by_name), strict=True))
        return to_array(logits), gradients, to_array(dx.movedim(1, -1))

    def tensors(self, model):
        state = model.state_dict()
        return {k: to_array(v) for k, v in state.items() if "num_batches_tracked" not in k}

    def assign(self, model, tensors):
        model.assign(tensors)

    def write_pth(self, path, tensors):
        torch.save({name: torch.from_numpy(np.array(v)) for name, v in tensors.items()}, path)

    def own_network(self, channels, *, seed=0):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, channels, 3), torch.nn.BatchNorm2d(channels), torch.nn.ReLU()
        )

    def exported(self, model, images, folder):
        x = _channels_first(images)
        batch, height, width = (torch.export.Dim(name) for name in ("n", "h", "w"))
        sizes = {"images": {0: batch, 2: 32 * height, 3: 32 * width}}
        program = torch.export.export(model.eval(), (x,), dynamic_shapes=sizes)
        torch.export.save(program, folder / "model.pt2")
        reloaded = torch.export.load(folder / "model.pt2").module()
        twin = door.BCNN("resnet18", model.classifier.out_features, seed=None).eval()
        twin.load_state_dict(model.state_dict())
        with torch.no_grad():
            return {"torch.export": to_array(reloaded(x)), "state_dict": to_array(twin(x))}

    copies = {  # noqa: RUF012
        "copy.deepcopy": copy.deepcopy,
        "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    }

    def sgd_step(self, model, images, labels, state, *, lr, momentum=0.0, weight_decay=0.0):
        if state is None:
            state = torch.optim.SGD(
                model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
            )
        for group in state.param_groups:
            group["lr"] = lr
        model.train()
        state.zero_grad()
        logits = model(_channels_first(images))
        torch.nn.functional.cross_entropy(logits, to_tensor(labels)).backward()
        state.step()
        return state

    def momentum(self, model, state):
        return {name: state.state[p]["momentum_buffer"] for name, p in model.named_parameters()}

    def save(self, model, path, **options):
        door.save(model, path, **options)

    def load(self, path, **options):
        return door.load(path, **options)


DRIVER = Torch()
