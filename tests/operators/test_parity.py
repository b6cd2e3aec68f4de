"""Every backend against the float64 reference (the star) and against every other (the ring).

All of it is the public battery: what certifies a backend of somebody else certifies ours.
"""

from bilinear.testing import battery

from ..subjects import PRESENT, certified

if PRESENT:
    TestParity = battery(*map(certified, PRESENT))
