"""Bilinear pooling and bilinear CNNs for TensorFlow and Keras.

Needs TensorFlow and Keras: ``pip install 'bilinear[tensorflow]'``. Feature maps are
(N, *spatial, C), images (N, H, W, 3); see the README for a first example.
"""

from ._require import require

require("tensorflow")

from .backends.tensorflow import require_keras_backend

require_keras_backend()

from .backends.initial_values import maclaurin_tables, sketch_tables
from .backends.tensorflow._presets import preset
from .backends.tensorflow.bilinear_pool import bilinear_pool
from .backends.tensorflow.bilinear_scores import bilinear_scores
from .backends.tensorflow.covariance_pool import covariance_pool
from .backends.tensorflow.democratic_weights import democratic_weights
from .backends.tensorflow.hadamard_pool import hadamard_pool
from .backends.tensorflow.half_vectorize import half_vectorize
from .backends.tensorflow.l2_normalize import l2_normalize
from .backends.tensorflow.layers import (
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
from .backends.tensorflow.low_rank_pool import low_rank_pool
from .backends.tensorflow.low_rank_scores import low_rank_scores
from .backends.tensorflow.matrix_sqrt import matrix_sqrt
from .backends.tensorflow.outer_max_pool import outer_max_pool
from .backends.tensorflow.outer_pool import outer_pool
from .backends.tensorflow.random_maclaurin import random_maclaurin
from .backends.tensorflow.signed_sqrt import signed_sqrt
from .backends.tensorflow.tensor_sketch import tensor_sketch
from .contract.sketches import MaclaurinTables, SketchTables
from .data.images import Preprocessing
from .models.tensorflow.bcnn import BCNN
from .models.tensorflow.files import import_checkpoint, load, load_image, save

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
    "democratic_weights",
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
    "random_maclaurin",
    "save",
    "signed_sqrt",
    "sketch_tables",
    "tensor_sketch",
]
