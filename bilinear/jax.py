"""Bilinear pooling and bilinear CNNs for JAX.

Needs JAX and Flax: ``pip install 'bilinear[jax]'``. Feature maps are (N, *spatial, C), images
(N, H, W, 3); see the README for a first example.
"""

from ._require import require

require("jax")

from .backends.initial_values import maclaurin_tables, sketch_tables
from .backends.jax._presets import preset
from .backends.jax.bilinear_pool import bilinear_pool
from .backends.jax.bilinear_scores import bilinear_scores
from .backends.jax.covariance_pool import covariance_pool
from .backends.jax.covariance_sqrt import covariance_sqrt
from .backends.jax.democratic_weights import democratic_weights
from .backends.jax.hadamard_pool import hadamard_pool
from .backends.jax.half_vectorize import half_vectorize
from .backends.jax.l2_normalize import l2_normalize
from .backends.jax.layers import (
    AveragePool,
    BilinearPool,
    CompactBilinearPool,
    CovariancePool,
    DemocraticPool,
    HierarchicalBilinearPool,
    ImprovedBilinearPool,
    LowRankBilinearClassifier,
    LowRankBilinearPool,
    OuterMaxPool,
    Projection,
)
from .backends.jax.low_rank_pool import low_rank_pool
from .backends.jax.low_rank_scores import low_rank_scores
from .backends.jax.matrix_sqrt import matrix_sqrt
from .backends.jax.outer_max_pool import outer_max_pool
from .backends.jax.outer_pool import outer_pool
from .backends.jax.random_maclaurin import random_maclaurin
from .backends.jax.signed_sqrt import signed_sqrt
from .backends.jax.tensor_sketch import tensor_sketch
from .contract.sketches import MaclaurinTables, SketchTables
from .data.images import Preprocessing
from .models.jax.bcnn import (
    BCNN,
    from_pretrained,
    import_checkpoint,
    load,
    load_image,
    push_to_hub,
    save,
)

__all__ = [
    "BCNN",
    "AveragePool",
    "BilinearPool",
    "CompactBilinearPool",
    "CovariancePool",
    "DemocraticPool",
    "HierarchicalBilinearPool",
    "ImprovedBilinearPool",
    "LowRankBilinearClassifier",
    "LowRankBilinearPool",
    "MaclaurinTables",
    "OuterMaxPool",
    "Preprocessing",
    "Projection",
    "SketchTables",
    "bilinear_pool",
    "bilinear_scores",
    "covariance_pool",
    "covariance_sqrt",
    "democratic_weights",
    "from_pretrained",
    "hadamard_pool",
    "half_vectorize",
    "import_checkpoint",
    "l2_normalize",
    "load",
    "load_image",
    "low_rank_pool",
    "low_rank_scores",
    "maclaurin_tables",
    "matrix_sqrt",
    "outer_max_pool",
    "outer_pool",
    "preset",
    "push_to_hub",
    "random_maclaurin",
    "save",
    "signed_sqrt",
    "sketch_tables",
    "tensor_sketch",
]
