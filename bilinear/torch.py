"""Bilinear pooling and bilinear CNNs for PyTorch.

Needs PyTorch: ``pip install 'bilinear[torch]'``. Feature maps are (N, C, *spatial), images
(N, 3, H, W); see the README for a first example.
"""

from ._require import require

require("torch")

from .backends.initial_values import maclaurin_tables, sketch_tables
from .backends.torch._presets import preset
from .backends.torch.bilinear_pool import bilinear_pool
from .backends.torch.bilinear_scores import bilinear_scores
from .backends.torch.covariance_pool import covariance_pool
from .backends.torch.covariance_sqrt import covariance_sqrt
from .backends.torch.democratic_weights import democratic_weights
from .backends.torch.hadamard_pool import hadamard_pool
from .backends.torch.half_vectorize import half_vectorize
from .backends.torch.l2_normalize import l2_normalize
from .backends.torch.layers import (
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
from .backends.torch.low_rank_pool import low_rank_pool
from .backends.torch.low_rank_scores import low_rank_scores
from .backends.torch.matrix_sqrt import matrix_sqrt
from .backends.torch.outer_max_pool import outer_max_pool
from .backends.torch.outer_pool import outer_pool
from .backends.torch.random_maclaurin import random_maclaurin
from .backends.torch.signed_sqrt import signed_sqrt
from .backends.torch.tensor_sketch import tensor_sketch
from .contract.sketches import MaclaurinTables, SketchTables
from .data.images import Preprocessing
from .models.torch.bcnn import (
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
