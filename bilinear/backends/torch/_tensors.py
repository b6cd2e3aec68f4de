"""What every PyTorch operator does around its formula: describe, upcast and multiply tensors."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._functorch import eager_transforms

from ...contract import ACCUMULATION, Spec, check_same_device, check_tensor, refuse
from ...contract.sketches import check_entries

_Tables = TypeVar("_Tables", bound=tuple)
_NAMES = {getattr(torch, name): name for name in (*ACCUMULATION, "bool")}


def specs(op: str, x: Tensor, y: Tensor | None, mask: Tensor | None) -> tuple[Any, Any, Any]:
    """Describe the arguments of an operator for the contract; only `y` and `mask` may be None."""
    return (
        spec(op, "x", x),
        None if y is None else spec(op, "y", y),
        None if mask is None else spec(op, "mask", mask),
    )


def spec(op: str, name: str, x: Tensor) -> Spec:
    """Describe `x` for the contract."""
    if not isinstance(x, Tensor):
        check_tensor(op, name, x, Tensor, "torch.Tensor")
    return Spec(x.shape, _NAMES.get(x.dtype) or str(x.dtype).removeprefix("torch."), x.device)


def check_devices(op: str, **tensors: Tensor | None) -> None:
    check_same_device(op, {k: str(t.device) for k, t in tensors.items() if t is not None})


def tables_to_tensors(op: str, tables: _Tables, **tensors: Tensor | None) -> _Tables:
    """Check the tables and return them as tensors on the device of the features."""
    if not torch.compiler.is_compiling():
        check_entries(op, tables)
    own = {k: t for k, t in tables._asdict().items() if isinstance(t, Tensor)}  # pyright: ignore
    check_devices(op, **tensors, **own)
    (first, *_) = tensors.values()
    assert first is not None
    given = (int, Tensor)
    made = (t if isinstance(t, given) else torch.as_tensor(t, device=first.device) for t in tables)
    return type(tables)(*made)  # pyright: ignore


def upcast(x: Tensor) -> Tensor:
    """Cast `x` to the dtype in which its sums, roots and norms are computed."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _autocast_available(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type)


if torch.__version__ < "2.13":  # the mark imports all of Dynamo, which takes over a second
    # Dynamo before 2.13 hides the text of an error that traced code raises under fullgraph=True,
    # and cannot trace the query. It calls a marked function instead of tracing it.
    for _function in (refuse, _autocast_available):
        torch.compiler.assume_constant_result(_function)


def autocast_off(x: Tensor) -> AbstractContextManager[Any]:
    """Turn autocast off: inside an operator the dtype of the input decides."""
    if not _autocast_available(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def use_plain_operations() -> bool:
    """Whether to compute without a custom `torch.autograd.Function`.

    Compilers fuse plain operations. Under nested forward derivatives a Function loses a tangent.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
        return True
    return getattr(eager_transforms, "JVP_NESTING", 0) > 1


_RESULTS_IN_FLOAT32 = torch.version.cuda is not None and "dtype" in torch.ops.aten.bmm.overloads()
"""Whether CUDA products of half-precision matrices can have float32 results: since PyTorch 2.8."""


def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device multiplies half-precision matrices of `dtype` with sums in float32.

    Their products are exact in float32, so the sums are those of upcast matrices.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    return half and device.type == "cuda" and _RESULTS_IN_FLOAT32


def multiply(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``a @ b`` of one or a batch of matrices, in the accumulation dtype; without derivatives."""
    product = torch.bmm if a.ndim == 3 else torch.mm
    if multiplies(a.dtype, a.device):
        return product(a, b, out_dtype=torch.float32, out=out)  # pyright: ignore
    return product(upcast(a), upcast(b), out=out)


class _Matmul(torch.autograd.Function):
    """A matrix product whose gradient ignores the autocast that is on at that time.

    `dtype` is the half-precision dtype in which the factors, whose values it represents, are
    multiplied, or None for their own dtype.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, dtype: torch.dtype | None) -> Tensor:
        with autocast_off(a):
            return a @ b if dtype is None else multiply(a.to(dtype), b.to(dtype))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx, cotangent):
        a, b = ctx.saved_tensors
        of_a, of_b, _ = ctx.needs_input_grad  # a constant factor costs no product
        da = matmul(cotangent, b.mT) if of_a else None
        db = matmul(a.mT, cotangent) if of_b else None
        return da, db, None


class _MatmulEager(_Matmul):
    """The same with forward-mode derivatives, which Dynamo refuses in a Function."""

    @staticmethod
    def jvp(ctx, da, db, _):
        a, b = ctx.saved_tensors
        return matmul(da, b) + matmul(a, db)


def matmul(a: Tensor, b: Tensor, *dtypes: torch.dtype) -> Tensor:
    """``a @ b`` in the dtype of `a` and `b`, under any autocast, in every derivative.

    Args:
        a: matrices.
        b: matrices.
        *dtypes: of both, if they are upcast inputs, before they were upcast. If the device can
            multiply these dtypes, an eager product does. Compilers get the plain product.
    """
    if not use_plain_operations():
        half = len(set(dtypes)) == 1 and multiplies(dtypes[0], a.device)
        return _MatmulEager.apply(a, b, dtypes[0] if half else None)
    if not torch.is_autocast_enabled(a.device.type):
        return a @ b  # the plain product composes with every transform inside a compiled region
    if torch.compiler.is_compiling():
        return _Matmul.apply(a, b.clone() if b is a else b, None)  # Dynamo takes no tensor twice
    with autocast_off(a):
        return a @ b
