"""Custom backbones that tests name by their import path: ``tests.own_backbones:torch``."""

from typing import Any

from .subjects import driver

CHANNELS = 7


def torch() -> Any:
    return driver("torch").custom_network(CHANNELS, seed=9)


def tensorflow() -> Any:
    return driver("tensorflow").custom_network(CHANNELS, seed=9)


def jax() -> Any:
    return driver("jax").custom_network(CHANNELS, seed=9)
