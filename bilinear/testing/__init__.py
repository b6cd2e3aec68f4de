"""The conformance kit: hold a backend of your own to the specification.

::

    from bilinear.testing import Driver, battery

    MINE = Driver("mine", forward, vjp)
    TestMine = battery(MINE)

`Driver` says what a backend offers; `battery` makes the tests, which pytest collects: against
the float64 reference within bounds derived from the inputs, at every hard point, on exact
lattices, and under the laws of bilinear pooling. ``pytest -p bilinear.testing.plugin`` ends with
what the driver leaves out, as not covered, and with the worst ratios of error to bound.

It needs pytest and Hypothesis: ``pip install 'bilinear[testing]'``. No framework is imported.
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
