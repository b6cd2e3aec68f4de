"""The tolerances of operators, each with its reason.

Operators are compared within componentwise bounds computed from the inputs (`bounds.py`). The
bounds hold for any order of summation, and `SLACK` multiplies them. Known values are compared
within ``SLACK · γ_n · scale``, where the test gives n, the number of roundings of the value
(`closeness.assert_rounded`).
"""

SLACK = 2.0
"""Factor on every bound. The true values are rounded too, to float64 where long double is double.
Approximate division and square root (2 ulp on GPUs) cost two roundings instead of one."""

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53, "tensorfloat32": 2.0**-24}
"""Unit roundoff of the accumulation dtypes. TensorFloat-32 accumulates in float32."""

FACTOR_ROUNDOFF = {"tensorfloat32": 2.0**-11}
"""Relative rounding error of a factor before it enters a product: TensorFloat-32 rounds float32
to 11 significant bits."""

SMALLEST = {"float32": 2.0**-126, "float64": 2.0**-1022}
"""Smallest normal value, which is the error of compilers that flush subnormal values to 0."""
