"""The frameworks that can be tested here, and their drivers."""

import functools
import importlib
import os

from bilinear._require import BACKENDS, available
from bilinear.testing import Driver as Certified

from .drivers import Driver

PRESENT = [d for d in BACKENDS if available(d) and d in os.environ.get("BILINEAR_TEST_DOORS", d)]


@functools.cache
def driver(name: str) -> Driver:
    """All that the tests do with a framework."""
    return importlib.import_module(f"tests.drivers.{name}").DRIVER


def certified(name: str) -> Certified:
    """What the battery of `bilinear.testing` sees of it."""
    return importlib.import_module(f"tests.drivers.{name}").CERTIFIED
