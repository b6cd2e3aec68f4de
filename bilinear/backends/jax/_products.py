"""Products with half-precision inputs.

Products of two half-precision values are exact in float32. So half-precision factors that are added
in float32 give the same sums as float32 factors, and the matrix units of GPUs and TPUs compute them
several times as fast. On CPUs XLA itself widens the factors.

A derivative multiplies an input b by a float32 tangent or cotangent t.
For bfloat16 inputs, ``t = t1 + t2 + t3`` on GPUs and TPUs, where t1, t2 and t3 are bfloat16:
8 of the 24 significant bits of t each, cut off, so they have one sign. Their products with b are
exact, each sum of n products errs by at most ``γ_n Σ|tᵢ||b|``, and both additions round once more:
``γ_(n+2) Σ|t||b|`` in all. A float32 product has ``γ_n``, and the tests allow 2 γ_n. This holds for
t = 0 and |t| >= 2⁻¹⁰³, where t3 is a normal number. Smaller values lose at most 2⁻¹²⁵.

float16 has only 5 bits for the exponent, so its inputs are widened in derivatives. So are bfloat16
inputs on CPUs, where three products take longer than one.
"""

import functools
import string
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from ...contract import ACCUMULATION
from ._arrays import einsum, precision, user_precision

FULL = (None, "highest", "float32")
"""Settings of JAX under which products must be as accurate as float32 products."""


def einsum_of_inputs(rule: str, a: jax.Array, b: jax.Array, *dtypes: Any) -> jax.Array:
    """`einsum` of two upcast inputs, which had these `dtypes`.

    The derivatives are those of the upcast arrays, so the gradients of several products are added
    before they are rounded.
    """
    names = {jnp.dtype(dtype).name for dtype in dtypes}
    if len(names) == 1 and not names & set(ACCUMULATION.values()):
        return _half_einsum(rule, *names, a, b)
    return einsum(rule, a, b)


def einsum_with_input(rule: str, t: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
    """`einsum` of an array and an upcast input, which had this `dtype`."""
    if jnp.dtype(dtype) != jnp.bfloat16 or user_precision() not in FULL:
        return einsum(rule, t, b)
    if AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types:  # in `shard_map`
        t = t + jnp.zeros_like(b.sum())  # varies like b, so that its gradient is summed
    return _with_bfloat16.bind(t, b, rule=rule, spec=None)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _half_einsum(rule: str, dtype: str, a: jax.Array, b: jax.Array) -> jax.Array:
    factors = a.astype(dtype), b.astype(dtype)
    return jnp.einsum(rule, *factors, precision=precision(), preferred_element_type=np.float32)


@functools.partial(_half_einsum.defjvp, symbolic_zeros=True)
def _half_einsum_jvp(rule, dtype, primals, tangents):
    (a, b), (da, db) = primals, tangents
    of_a, of_b, result = _split_rule(rule)
    terms = []
    if not isinstance(da, SymbolicZero):
        terms.append(einsum_with_input(rule, da, b, dtype))
    if not isinstance(db, SymbolicZero):
        terms.append(einsum_with_input(f"{of_b},{of_a}->{result}", db, a, dtype))
    return _half_einsum(rule, dtype, a, b), functools.reduce(jnp.add, terms)


def _split_rule(rule: str) -> list[str]:
    """The axes of both factors and of the result."""
    return rule.replace("->", ",").split(",")


def bfloat16_terms(t: jax.Array) -> list[jax.Array]:
    """Three bfloat16 arrays whose sum is the float32 array t.

    Bits are masked because XLA removes conversions to a shorter dtype and back.
    """
    terms = []
    for _ in range(3):
        bits = jax.lax.bitcast_convert_type(t, np.uint32) & np.uint32(0xFFFF0000)
        term = jax.lax.bitcast_convert_type(bits, np.float32)
        terms.append(term.astype(jnp.bfloat16))
        t = jnp.where(jnp.isinf(t), 0.0, t - term)
    return terms


# A primitive, because neither the split nor its transpose, which splits the cotangent, follows from
# the derivatives of its steps, and no custom rule of JAX has both a tangent and a transpose.
_with_bfloat16 = Primitive("bilinear_einsum_with_bfloat16")


def _in_float32(t: jax.Array, b: jax.Array, *, rule: str, spec: P | None = None) -> jax.Array:
    return jnp.einsum(rule, t, b, precision=jax.lax.Precision.HIGHEST, out_sharding=spec)


def _in_bfloat16(t: jax.Array, b: jax.Array, *, rule: str, spec: P | None = None) -> jax.Array:
    options = {"preferred_element_type": np.float32, "out_sharding": spec}
    product = functools.partial(jnp.einsum, rule, **options)
    first, second, third = (product(term, b.astype(jnp.bfloat16)) for term in bfloat16_terms(t))
    return first + (second + third)


@_with_bfloat16.def_impl
def _impl(t, b, *, rule, spec):
    on_cpu = all(device.platform == "cpu" for device in t.devices())
    return (_in_float32 if on_cpu else _in_bfloat16)(t, b, rule=rule, spec=spec)


@_with_bfloat16.def_abstract_eval
def _abstract_eval(t, b, *, rule, spec):
    product = functools.partial(_in_float32, rule=rule, spec=spec)
    return jax.make_jaxpr(product)(t, b).out_avals[0]


def _transpose(cotangent, t, b, *, rule, spec):
    """The transpose with respect to t; the product is never transposed with respect to b.

    In a mesh with explicit axes, JAX requires the sharding of a sum over a sharded batch. It is
    that of t.
    """
    del spec
    of_t, of_b, result = _split_rule(rule)
    explicit = AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
    of_sum = P(*t.aval.sharding.spec) if explicit else None
    return _with_bfloat16.bind(cotangent, b, rule=f"{result},{of_b}->{of_t}", spec=of_sum), None


def _batch(factors, axes, *, rule, spec):
    *of_factors, result = _split_rule(rule)
    new = next(letter for letter in string.ascii_lowercase if letter not in rule)
    moved = list(factors)
    for i, axis in enumerate(axes):
        if axis is not None:
            moved[i], of_factors[i] = jnp.moveaxis(moved[i], axis, 0), new + of_factors[i]
    spec = None if spec is None else P(None, *spec)
    rule = f"{','.join(of_factors)}->{new}{result}"
    return _with_bfloat16.bind(*moved, rule=rule, spec=spec), 0


ad.defjvp(
    _with_bfloat16,
    lambda dt, t, b, *, rule, spec: _with_bfloat16.bind(dt, b, rule=rule, spec=spec),
    lambda db, t, b, *, rule, spec: _in_float32(t, db, rule=rule, spec=spec),
)
ad.primitive_transposes[_with_bfloat16] = _transpose
batching.primitive_batchers[_with_bfloat16] = _batch
mlir.register_lowering(_with_bfloat16, mlir.lower_fun(_in_float32, multiple_results=False))
for _platform in ("cuda", "rocm", "tpu"):
    _rule = mlir.lower_fun(_in_bfloat16, multiple_results=False)
    mlir.register_lowering(_with_bfloat16, _rule, platform=_platform)
