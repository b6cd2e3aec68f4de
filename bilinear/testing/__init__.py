"""The test kit: compare a custom backend with the specification.

::

    from bilinear.testing import Driver, battery

    MINE = Driver("mine", forward, vjp)
    TestMine = battery(MINE)

`Driver` declares what a backend offers, and `battery` creates tests that pytest collects. They
compare the backend with the float64 reference within error bounds derived from the inputs, at
every singular point, on integers (exactly), and with the laws of bilinear pooling.
``pytest -p bilinear.testing.plugin`` ends with a list of what the driver does not cover, and with
the largest ratios of error to bound.

The kit needs pytest and Hypothesis: ``pip install 'bilinear[testing]'``. It imports no framework.
"""

from .._require import require_packages

require_packages("bilinear.testing", ("pytest", "hypothesis"), extra="testing")

from .battery import battery
from .bounds import Bounded
from .cases import DTYPES, Case
from .closeness import assert_within
from .driver import REFERENCE, Driver
from .parity import check_against_each_other, check_against_reference
from .subjects import LAYERS, OPERATORS, OPS, truth, vjp_truth

__all__ = [
    "DTYPES",
    "LAYERS",
    "OPERATORS",
    "OPS",
    "REFERENCE",
    "Bounded",
    "Case",
    "Driver",
    "assert_within",
    "battery",
    "check_against_each_other",
    "check_against_reference",
    "truth",
    "vjp_truth",
]
