"""The specification: every operator, forward and gradient, in NumPy.

`f(...)` is the operator, and `f_vjp(cotangent, ...)` is its vector-Jacobian product, derived by
hand. ``_f`` is the formula without checks or casts. It is analytic wherever the operator is,
because tests differentiate it by the complex step. The code is written to be compared with the
papers; it is not fast.

Only the tests import this package. Backends share none of its code.
"""

from .bilinear_pool import bilinear_pool, bilinear_pool_vjp
from .bilinear_scores import bilinear_scores, bilinear_scores_vjp
from .covariance_pool import covariance_pool, covariance_pool_vjp
from .covariance_sqrt import covariance_sqrt, covariance_sqrt_vjp
from .democratic_weights import democratic_weights, democratic_weights_vjp
from .hadamard_pool import hadamard_pool, hadamard_pool_vjp
from .half_vectorize import half_vectorize, half_vectorize_vjp
from .l2_normalize import l2_normalize, l2_normalize_vjp
from .low_rank_pool import low_rank_pool, low_rank_pool_vjp
from .low_rank_scores import low_rank_scores, low_rank_scores_vjp
from .matrix_sqrt import matrix_sqrt, matrix_sqrt_vjp
from .outer_max_pool import outer_max_pool, outer_max_pool_vjp
from .outer_pool import outer_pool, outer_pool_vjp
from .random_maclaurin import random_maclaurin, random_maclaurin_vjp
from .signed_sqrt import signed_sqrt, signed_sqrt_vjp
from .tensor_sketch import tensor_sketch, tensor_sketch_vjp

__all__ = [
    "bilinear_pool",
    "bilinear_pool_vjp",
    "bilinear_scores",
    "bilinear_scores_vjp",
    "covariance_pool",
    "covariance_pool_vjp",
    "covariance_sqrt",
    "covariance_sqrt_vjp",
    "democratic_weights",
    "democratic_weights_vjp",
    "hadamard_pool",
    "hadamard_pool_vjp",
    "half_vectorize",
    "half_vectorize_vjp",
    "l2_normalize",
    "l2_normalize_vjp",
    "low_rank_pool",
    "low_rank_pool_vjp",
    "low_rank_scores",
    "low_rank_scores_vjp",
    "matrix_sqrt",
    "matrix_sqrt_vjp",
    "outer_max_pool",
    "outer_max_pool_vjp",
    "outer_pool",
    "outer_pool_vjp",
    "random_maclaurin",
    "random_maclaurin_vjp",
    "signed_sqrt",
    "signed_sqrt_vjp",
    "tensor_sketch",
    "tensor_sketch_vjp",
]
