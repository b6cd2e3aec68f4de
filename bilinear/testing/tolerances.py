"""The tolerances of operators, each with its reason.

Operators are held to componentwise bounds computed from the inputs (`bounds.py`), which hold
for any order of summation; `SLACK` multiplies them. What a test works out by hand is compared
to ``SLACK · γ_n · scale``; there the test itself counts n, the roundings that lead to its number
(`closeness.assert_rounded`).
"""

SLACK = 2.0
"""Of every bound: the truth is itself computed (where long double is double, with the same
rounding), and processors with approximate division and square root (2 ulp on GPUs) spend two
roundings where the analysis counts one."""

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53, "tensorfloat32": 2.0**-24}
"""Of the types that are accumulated in. TensorFloat-32 adds in float32."""

FACTOR_ROUNDOFF = {"tensorfloat32": 2.0**-11}
"""Of a factor, before it enters a product, where that is less than its type: TensorFloat-32
keeps 11 significant bits of a float32."""

SMALLEST = {"float32": 2.0**-126, "float64": 2.0**-1022}
"""Smallest normal number: what compilers that flush subnormals may lose of a result."""
