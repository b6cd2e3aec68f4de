"""Functions of feature maps (N, h, w, C) that need no Flax."""

from typing import Any

import jax
import jax.numpy as jnp

from ...contract import refuse
from ..plan_layers import Pair, pair
from ..plans import DTYPES


def check_dtype(op: str, dtype: str) -> None:
    """ValueError where JAX would silently make the dtype narrower."""
    if jax.dtypes.canonicalize_dtype(DTYPES[dtype]) != DTYPES[dtype]:
        remedy = "Call jax.config.update('jax_enable_x64', True) before anything else of JAX."
        received = f"{dtype} and jax_enable_x64=False"
        refuse(ValueError, op, "float64 needs JAX's 64-bit mode", received, remedy)


_Sides = list[tuple[int, int]]


def convolve(x: jax.Array, kernel: jax.Array, bias: Any, stride: int, padding: Pair) -> jax.Array:
    """Convolve with an HWIO kernel, padded equally on both sides of an axis."""
    # XLA's convolution of a map smaller than its kernel takes 100 times as long on a CPU.
    sizes = list(zip(x.shape[1:3], kernel.shape[:2], strict=True))
    small = all(isinstance(size, int) for size, _ in sizes) and any(a < b for a, b in sizes)
    sides = [(side, side) for side in pair(padding)]
    x = (_convolve_patches if small else _convolve)(x, kernel, stride, sides)
    return x if bias is None else x + bias


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: _Sides) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _convolve_patches(x: jax.Array, kernel: jax.Array, stride: int, padding: _Sides) -> jax.Array:
    """The same convolution as one matrix product of the concatenated patches."""
    rows, columns = kernel.shape[:2]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    patches = [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(rows)
        for j in range(columns)
    ]
    flat = kernel.reshape(-1, kernel.shape[3])
    return jnp.matmul(jnp.concatenate(patches, 3), flat)


def max_pool(x: jax.Array, kernel: int, stride: int, padding: int) -> jax.Array:
    return jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        (1, kernel, kernel, 1),
        (1, stride, stride, 1),
        ((0, 0), (padding, padding), (padding, padding), (0, 0)),
    )


def resample(*maps: jax.Array) -> tuple[jax.Array, ...]:
    """All maps at the smallest extent of each axis: half-pixel centers, no antialiasing."""
    if len(maps) == 1:
        return maps
    size = [min(sizes) for sizes in zip(*(x.shape[1:-1] for x in maps), strict=True)]
    return tuple(
        jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "linear", antialias=False)
        for x in maps
    )
