"""The specification: every operator, forward and gradient, in NumPy.

Read it against the papers. `f(...)` is the operator and `f_vjp(cotangent, ...)` its
vector-Jacobian product, derived by hand; a ``_f`` beside them is the bare formula without
checks or casts, written so that it is analytic wherever the operator is (tests
differentiate it by the complex step). It aims to be obvious, not fast.

The tests, not the library, import this package: backends share none of its code.
"""

from .bilinear_pool import bilinear_pool, bilinear_pool_vjp
from .l2_normalize import l2_normalize, l2_normalize_vjp
from .outer_pool import outer_pool, outer_pool_vjp
from .signed_sqrt import signed_sqrt, signed_sqrt_vjp

__all__ = [
    "bilinear_pool",
    "bilinear_pool_vjp",
    "l2_normalize",
    "l2_normalize_vjp",
    "outer_pool",
    "outer_pool_vjp",
    "signed_sqrt",
    "signed_sqrt_vjp",
]
