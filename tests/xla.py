"""The options of XLA that the tests set."""

import importlib.metadata

from packaging.version import Version

from bilinear._require import available


def options(*, optimize: bool) -> dict[str, int | bool]:
    """Return the optimization level, with options that XLA refuses if it does not know them."""
    chosen: dict[str, int | bool] = {"xla_backend_optimization_level": 3 if optimize else 0}
    if available("jax") and Version(importlib.metadata.version("jaxlib")) < Version("0.11.1"):
        chosen["xla_cpu_use_fusion_emitters"] = optimize
    return chosen
