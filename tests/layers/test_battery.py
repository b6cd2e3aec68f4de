"""The battery over every layer of every framework."""

from bilinear.testing import battery

from ..subjects import PRESENT, certified

if PRESENT:
    TestLayers = battery(*map(certified, PRESENT), operators=())
