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


def _multiplies_both(dtypes: tuple[torch.dtype, ...], device: torch.device) -> bool:
    """The same for two factors, of which one may be float32 if the other one is bfloat16."""
    mixed = set(dtypes) == {torch.bfloat16, torch.float32}
    half = torch.bfloat16 if mixed else dtypes[0]
    return (mixed or len(set(dtypes)) == 1) and multiplies(half, device)


def multiply(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``a @ b`` of one or a batch of matrices, in the accumulation dtype; without derivatives."""
    product = torch.bmm if a.ndim == 3 else torch.mm
    if not _multiplies_both((a.dtype, b.dtype), a.device):
        return product(upcast(a), upcast(b), out=out)
    if a.dtype == b.dtype:
        return product(a, b, out_dtype=torch.float32, out=out)  # pyright: ignore
    if a.dtype == torch.float32:
        first, *rest = (multiply(term, b) for term in bfloat16_terms(a))
    else:
        first, *rest = (multiply(a, term) for term in bfloat16_terms(b))
    return torch.add(first, rest[0] + rest[1], out=out)


def bfloat16_terms(t: Tensor) -> list[Tensor]:
    """Three bfloat16 tensors whose sum is `t`; `bilinear.backends.jax._products` has the bound."""
    terms = []
    for _ in range(3):
        term = (t.view(torch.int32) & -(2**16)).view(torch.float32)
        terms.append(term.bfloat16())
        t = torch.where(t.isinf(), 0.0, t - term)
    return terms


class _Matmul(torch.autograd.Function):
    """A matrix product whose gradient ignores the autocast that is on at that time.

    The factors have values of the dtypes `of_a` and `of_b`, in which they are multiplied.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, of_a: torch.dtype, of_b: torch.dtype) -> Tensor:
        with autocast_off(a):
            if (of_a, of_b) == (a.dtype, b.dtype):
                return a @ b
            return multiply(a.to(of_a), b.to(of_b))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *factors, ctx.of_a, ctx.of_b = inputs
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)

    @staticmethod
    def backward(ctx, cotangent):
        a, b = ctx.saved_tensors
        want_a, want_b, *_ = ctx.needs_input_grad  # a constant factor costs no product
        da = matmul(cotangent, b.transpose(-2, -1), cotangent.dtype, ctx.of_b) if want_a else None
        db = matmul(a.transpose(-2, -1), cotangent, ctx.of_a, cotangent.dtype) if want_b else None
        return da, db, None, None


class _MatmulEager(_Matmul):
    """The same with forward-mode derivatives, which Dynamo refuses in a Function."""

    @staticmethod
    def jvp(ctx, da, db, *_):
        a, b = ctx.saved_tensors
        return matmul(da, b, da.dtype, ctx.of_b) + matmul(a, db, ctx.of_a, db.dtype)


def matmul(a: Tensor, b: Tensor, *dtypes: torch.dtype) -> Tensor:
    """``a @ b`` in the dtype of `a` and `b`, under any autocast, in every derivative.

    Args:
        a: matrices.
        b: matrices.
        *dtypes: those of a and b before they were upcast, or nothing. If the device can multiply
            these dtypes, an eager product does. Compilers get the plain product.
    """
    if not use_plain_operations():
        in_these = bool(dtypes) and _multiplies_both(dtypes, a.device)
        return _MatmulEager.apply(a, b, *(dtypes if in_these else (a.dtype, b.dtype)))
    if not torch.is_autocast_enabled(a.device.type):
        return a @ b  # the plain product composes with every transform inside a compiled region
    if torch.compiler.is_compiling():  # Dynamo takes no tensor twice
        return _Matmul.apply(a, b.clone() if b is a else b, a.dtype, b.dtype)
    with autocast_off(a):
        return a @ b
