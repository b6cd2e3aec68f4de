"""The format for deployment that JAX exports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

import bilinear.jax

Run = Callable[..., np.ndarray]


def build(case: Any) -> Any:
    made = getattr(bilinear.jax, case.name)(**case.parameters)
    if case.name == "BCNN":
        made.eval()
    return made


def _function(model: Any) -> Any:
    def call(*arrays: Any) -> Any:
        return model(*arrays)

    return jax.jit(call)


def native(model: Any) -> Run:
    call = _function(model)
    return lambda *arrays: np.asarray(call(*arrays))


def exported(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    step = "32*" if arrays[0].shape[-1] == 3 else ""
    n, h, w, c = arrays[0].shape
    shape = {
        "batch and size": f"n, {step}h, {step}w, {c}",
        "batch": f"n, {h}, {w}, {c}",
        "none": f"{n}, {h}, {w}, {c}",
    }[dynamic]
    specs = export.symbolic_args_specs(tuple(arrays), (shape,) * len(arrays))
    path = folder / "model.bin"
    path.write_bytes(export.export(_function(model))(*specs).serialize())
    program = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    return lambda *arrays: np.asarray(program(*arrays)), path.stat().st_size


FORMATS = {"jax.export": exported}
