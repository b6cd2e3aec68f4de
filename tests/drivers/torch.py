"""The driver of PyTorch."""

import copy
import functools
import os
import pickle

import ml_dtypes
import numpy as np
import torch

import bilinear.torch as namespace

from . import TF32, Driver, kit_driver
from . import _torch_transforms as transforms
from ._torch_transforms import COMPILERS, DEVICE

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

torch.set_num_threads(int(os.environ.get("BILINEAR_TEST_THREADS", "2")))
torch._dynamo.config.cache_size_limit = 1024  # functions are called with many dtypes and shapes
torch._dynamo.config.accumulated_cache_size_limit = 2**16  # one process may run every operator
torch.backends.cuda.matmul.allow_tf32 = TF32
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True


def to_tensor(x: np.ndarray) -> torch.Tensor:
    """Share the memory and strides of `x` if the device is the CPU."""
    x = x if x.flags.writeable else x.copy(order="K")
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(DEVICE)
    return torch.from_numpy(x).to(DEVICE)


def to_array(t: torch.Tensor) -> np.ndarray:
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def _tensors_of(option):
    """Convert all arrays in an option to tensors."""
    if isinstance(option, np.ndarray):
        return to_tensor(option)
    return type(option)(*map(_tensors_of, option)) if hasattr(option, "_asdict") else option


class Maps(torch.nn.Module):
    def __init__(self, channels, channels_b):
        super().__init__()
        self.first = torch.nn.Conv2d(3, channels, 3)
        self.second = torch.nn.Conv2d(channels, channels_b, 3)

    def forward(self, x):
        x = self.first(x)
        return x, self.second(x)


class Torch(Driver):
    name = "torch"
    modes = ("eager", *COMPILERS)
    layouts = ("contiguous", "channels_last")

    def to_native(self, array):
        return to_tensor(array)

    def to_array(self, native):
        return to_array(native)

    def to_native_map(self, array):
        return to_tensor(array).movedim(-1, 1)

    def native_options(self, options):
        return {k: _tensors_of(v) for k, v in options.items()}

    def reset_compiler(self):
        """Remove compiled functions and the record of values that changed."""
        torch.compiler.reset()

    def call_with_wrong_type(self):
        namespace.outer_pool([[[1.0]]])

    def check_pool_copies(self):
        pool = namespace.BilinearPool("sum", eps=1e-5, l2_eps=1e-6)
        x = torch.randn(2, 3, 4, 5)
        ways = {
            "copy.deepcopy": copy.deepcopy,
            "pickle": lambda p: pickle.loads(pickle.dumps(p)),
            "eval": lambda p: p.eval(),
            "double": lambda p: p.double(),
            "checkpoint": transforms.WRAPPERS["checkpoint"],
        }
        assert repr(pool) == (
            "BilinearPool(reduction='sum', eps=1e-05, l2_eps=1e-06, packed=False, root='signed', "
            "slope_eps=None, norm='floor')"
        )
        for name, way in ways.items():
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(way(pool)(leaf).sum(), leaf)
            leaf = x.clone().requires_grad_()
            (expected,) = torch.autograd.grad(pool(leaf).sum(), leaf)
            assert torch.equal(way(pool)(x), pool(x)), name
            assert torch.equal(gradient, expected), name
        return [*ways, "repr"]

    def _function(self, op, mode):
        function = getattr(namespace, op)
        return COMPILERS[mode](function) if mode in COMPILERS else function

    def forward(self, op, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a) for a in arrays]
        return to_array(self._function(op, mode)(*tensors, **self.native_options(options)))

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        tensors = [to_tensor(a).requires_grad_() for a in arrays]
        result = self._function(op, mode)(*tensors, **self.native_options(options))
        return tuple(map(to_array, torch.autograd.grad(result, tensors, to_tensor(cotangent))))

    def in_one_graph(self, op, cases, cotangents):
        """Return values and gradients of several calls that Inductor compiles as one graph."""

        @torch.compile(fullgraph=True)
        def values(groups, options):
            function = getattr(namespace, op)
            return [function(*g, **o) for g, o in zip(groups, options, strict=True)]

        groups = [[to_tensor(a).requires_grad_() for a in case.arrays] for case in cases]
        results = values(groups, [self.native_options(case.options) for case in cases])
        leaves = [leaf for group in groups for leaf in group]
        gradients = torch.autograd.grad(results, leaves, list(map(to_tensor, cotangents)))
        arrays = iter(map(to_array, gradients))
        rows = zip(results, groups, strict=True)
        return [(to_array(result), [next(arrays) for _ in group]) for result, group in rows]

    def layer(self, name, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        pool = getattr(namespace, name)(**parameters or {}).to(DEVICE, to_tensor(cotangent).dtype)
        learned = [parameter for _, parameter in sorted(pool.named_parameters())]
        pool = COMPILERS[mode](pool) if mode in COMPILERS else pool
        return self._pooled(pool, layout, cotangent, maps, mask, learned)

    def dynamic_layer(self, maps, mask=None, *, layout=""):
        pool = transforms.compiled(namespace.BilinearPool(), dynamic=True)
        ones = np.ones((maps[0].shape[0], maps[0].shape[-1] * maps[-1].shape[-1]), maps[0].dtype)
        self._pooled(pool, layout, ones, maps, mask)
        once = torch.compiler.set_stance("fail_on_recompile")
        return once(functools.partial(self._pooled, pool, layout))

    def _pooled(self, pool, layout, cotangent, maps, mask, learned=()):
        memory = LAYOUTS[layout or "contiguous"]
        tensors = []
        for array in maps:
            tensor = self.to_native_map(array)
            tensor = tensor.contiguous(memory_format=memory) if tensor.ndim == 4 else tensor
            tensors.append(tensor.detach().requires_grad_())
        keep = None if mask is None else to_tensor(mask)
        result = pool(*tensors, mask=keep)
        ct = self.to_native_map(cotangent)  # of descriptors or of a feature map
        gradients = torch.autograd.grad(result, [*tensors, *learned], ct)
        moved = [t.movedim(1, -1) for t in (result, *gradients[: len(maps)])]
        result, *gradients = map(to_array, (*moved, *gradients[len(maps) :]))
        return result, tuple(gradients)

    def model(self, backbone, num_classes, **options):
        return super().model(backbone, num_classes, **options).to(DEVICE)

    def logits(self, model, images, *, training=False):
        model.train(training)
        with torch.no_grad():
            return to_array(model(self.to_native_map(images)))

    def descriptors(self, model, images):
        with torch.no_grad():
            return to_array(model.eval().descriptors(self.to_native_map(images)))

    def feature_maps(self, model, images):
        with torch.no_grad():
            maps = model.eval().feature_maps(self.to_native_map(images))
        return tuple(to_array(m.movedim(1, -1)) for m in maps)

    def gradients(self, model, images, cotangent, *, training):
        model.train(training)
        x = self.to_native_map(images).requires_grad_()
        names, parameters = zip(*model.named_parameters(), strict=True)
        logits = model(x)
        *by_name, dx = torch.autograd.grad(logits, [*parameters, x], to_tensor(cotangent))
        gradients = dict(zip(names, map(to_array, by_name), strict=True))
        return to_array(logits), gradients, to_array(dx.movedim(1, -1))

    def tensors(self, model):
        state = model.state_dict()
        return {k: to_array(v) for k, v in state.items() if "num_batches_tracked" not in k}

    def write_pth(self, path, tensors):
        torch.save({name: torch.from_numpy(np.array(v)) for name, v in tensors.items()}, path)

    def custom_network(self, channels, *, seed=0):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, channels, 3), torch.nn.BatchNorm2d(channels), torch.nn.ReLU()
        )

    def custom_feature_maps(self, channels, channels_b, *, seed=0):
        torch.manual_seed(seed)
        return Maps(channels, channels_b)

    def export(self, model, images, folder):
        x = self.to_native_map(images)
        batch, height, width = (torch.export.Dim(name) for name in ("n", "h", "w"))
        sizes = {"images": {0: batch, 2: 32 * height, 3: 32 * width}}
        program = torch.export.export(model.eval(), (x,), dynamic_shapes=sizes, strict=False)
        torch.export.save(program, folder / "model.pt2")
        reloaded = torch.export.load(folder / "model.pt2").module()
        twin = namespace.BCNN("resnet18", model.classifier.out_features, seed=None).eval()
        twin.load_state_dict(model.state_dict())
        with torch.no_grad():
            return {"torch.export": to_array(reloaded(x)), "state_dict": to_array(twin(x))}

    def sgd_step(self, model, images, labels, state, *, lr, momentum=0.0, weight_decay=0.0):
        if state is None:
            state = torch.optim.SGD(
                model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
            )
        for group in state.param_groups:
            group["lr"] = lr
        model.train()
        state.zero_grad()
        logits = model(self.to_native_map(images))
        torch.nn.functional.cross_entropy(logits, to_tensor(labels)).backward()
        state.step()
        return state

    def momentum(self, model, state):
        return {name: state.state[p]["momentum_buffer"] for name, p in model.named_parameters()}

    def resume(self, model, buffers, *, momentum, weight_decay=0.0):
        state = torch.optim.SGD(model.parameters(), momentum=momentum, weight_decay=weight_decay)
        for name, p in model.named_parameters():
            state.state[p]["momentum_buffer"] = buffers[name].to(p.device)
        return state


DRIVER = Torch(namespace, transforms)
KIT_DRIVER = kit_driver(DRIVER, tf32=TF32)
