"""The installed frameworks that are tested, and their drivers."""

import functools
import importlib
import os
from types import ModuleType

import pytest

from bilinear._require import BACKENDS, available
from bilinear.testing import Driver as KitDriver

from .drivers import Driver

SELECTED = os.environ.get("BILINEAR_TEST_NAMESPACES", ",".join(BACKENDS))
PRESENT = [name for name in BACKENDS if available(name) and name in SELECTED]

over_backends = pytest.mark.parametrize("backend", PRESENT)
needs_a_framework = pytest.mark.skipif(not PRESENT, reason="no framework is installed")


@functools.cache
def driver(name: str) -> Driver:
    """Return the driver with everything that the tests do in a framework."""
    return importlib.import_module(f"tests.drivers.{name}").DRIVER


def layer_checks(name: str) -> ModuleType:
    """Return the module of a framework's checks of layers with weights or tables."""
    driver(name)  # configures the framework
    return importlib.import_module(f"tests.drivers._{name}_layers")


def kit_driver(name: str) -> KitDriver:
    """Return the `bilinear.testing.Driver` of a framework."""
    return importlib.import_module(f"tests.drivers.{name}").KIT_DRIVER
