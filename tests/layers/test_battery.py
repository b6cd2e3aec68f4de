"""The battery over every layer of every framework."""

from bilinear.testing import battery

from ..subjects import PRESENT, kit_driver

if PRESENT:
    TestLayers = battery(*map(kit_driver, PRESENT), operators=())
