"""Test a custom backend: `pytest -p bilinear.testing.plugin examples/test_array_api.py`.

A custom backend needs only this file. This array library has no gradients, no layers and no
half-precision dtypes. pytest lists what the driver leaves out as not covered.
"""

import array_api_strict as xp
import numpy as np

from bilinear.testing import Driver, battery

from . import array_api


def forward(op, arrays, options):
    """Call an operator with NumPy arrays and return a NumPy array. `options` may have a mask."""
    options = {k: xp.asarray(v) if k == "mask" else v for k, v in options.items()}
    with np.errstate(invalid="ignore"):  # the unsigned root is NaN below -eps
        result = getattr(array_api, op)(*map(xp.asarray, arrays), **options)
    return np.asarray(result)


OPERATORS = ("outer_pool", "half_vectorize", "signed_sqrt", "l2_normalize", "bilinear_pool")
ARRAY_API = Driver("array-api-strict", forward, operators=OPERATORS, dtypes=("float64", "float32"))
TestArrayApi = battery(ARRAY_API)
