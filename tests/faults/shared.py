"""Faults of several operators."""

import functools
from typing import Any

from .operators import FAULTY, fault
from .steps import slope, without_gradient, without_nan


def with_options(a: Any, ops: Any, f: Any, *arguments: Any, fixed: dict[str, Any], **options: Any):
    return f(*arguments, **options | fixed)


for (_op, _name), _fixed in {
    ("half_vectorize", "√2 in any case"): {"isometric": True},
    ("democratic_weights", "the targets are always constants"): {"detach_target": True},
    ("democratic_weights", "the targets are never constants"): {"detach_target": False},
    ("democratic_weights", "the steps are not damped"): {"damping": 1.0},
}.items():
    FAULTY[_op, _name] = functools.partial(with_options, fixed=_fixed)


@fault("bilinear_pool", "the two eps are exchanged")
@fault("bilinear_scores", "the two eps are exchanged")
def _(a, ops, f, *arrays, eps=1e-10, l2_eps=1e-12, **options):
    return f(*arrays, eps=l2_eps, l2_eps=eps or 1e-30, **options)


@fault("signed_sqrt", "the second derivative has an additional term")
@fault("l2_normalize", "the second derivative has an additional term")
@fault("matrix_sqrt", "the second derivative has an additional term")
def _(a, ops, f, x, **options):
    return f(x, **options) + slope(a, x) * slope(a, x)


@fault("bilinear_pool", "the gradient of a second stream is lost")
@fault("random_maclaurin", "the gradient of a second stream is lost")
def _(a, ops, f, x, y=None, **options):
    return f(x, None if y is None else without_gradient(a, y), **options)


@fault("bilinear_pool", "a NaN of the matrix is hidden in the gradient")
@fault("outer_max_pool", "a NaN maximum has a finite gradient")
def _(a, ops, f, x, y=None, **options):
    result = a.stop(f(x, y, **options))
    return a.where(a.isnan(result), result, f(*without_nan(a, x, y), **options))
