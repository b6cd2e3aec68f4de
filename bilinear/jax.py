"""Bilinear pooling and bilinear CNNs for JAX.

Needs JAX and Flax: ``pip install 'bilinear[jax]'``. Feature maps are (N, *spatial, C), images
(N, H, W, 3); see the README for a first example.
"""

from ._require import require

require("jax")

from .backends.jax.bilinear_pool import bilinear_pool
from .backends.jax.l2_normalize import l2_normalize
from .backends.jax.layers import BilinearPool
from .backends.jax.outer_pool import outer_pool
from .backends.jax.signed_sqrt import signed_sqrt
from .images import Preprocessing
from .models.jax.bcnn import BCNN
from .models.jax.files import load, load_image, save

__all__ = [
    "BCNN",
    "BilinearPool",
    "Preprocessing",
    "bilinear_pool",
    "l2_normalize",
    "load",
    "load_image",
    "outer_pool",
    "save",
    "signed_sqrt",
]
