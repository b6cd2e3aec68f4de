"""Bilinear pooling and bilinear CNNs for TensorFlow and Keras.

Needs TensorFlow and Keras: ``pip install 'bilinear[tensorflow]'``. Location features are (N, L, C),
feature maps (N, *spatial, C), images (N, H, W, 3).

Operators take what `tf.convert_to_tensor` accepts. `bilinear.reference` specifies the values and
gradients. For all operators and layers:

- Half-precision inputs are accumulated in float32, and the result is rounded once. On GPUs
  TensorFlow multiplies float32 matrices in TF32 unless
  `tf.config.experimental.enable_tensor_float_32_execution(False)` was called. TF32 represents
  half-precision values exactly.
- ValueError (shapes and values) and TypeError (dtypes and types) are raised before the computation,
  in a `tf.function` while it is traced. Sizes, and for operators the rank, may be unknown then.
  Such sizes are checked at run time, and the same message is in a
  `tf.errors.InvalidArgumentError`. XLA (``jit_compile=True``) drops the message and names a
  node ``…_needs_sizes_that_fit`` that cannot be compiled.
- The layers are Keras layers: they cast to their dtype policy, use the masks that Keras stores on
  feature maps, and are saved with a model. Keras may compile them by XLA.
"""

from ._require import require

require("tensorflow")

from .backends.keras import require_keras_backend

require_keras_backend("tensorflow", "tensorflow")

from .backends.initial_values import maclaurin_tables, sketch_tables
from .backends.keras._presets import preset
from .backends.keras.layers import (
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
from .backends.tensorflow.bilinear_pool import bilinear_pool
from .backends.tensorflow.bilinear_scores import bilinear_scores
from .backends.tensorflow.covariance_pool import covariance_pool
from .backends.tensorflow.covariance_sqrt import covariance_sqrt
from .backends.tensorflow.democratic_weights import democratic_weights
from .backends.tensorflow.hadamard_pool import hadamard_pool
from .backends.tensorflow.half_vectorize import half_vectorize
from .backends.tensorflow.l2_normalize import l2_normalize
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
from .models.keras.bcnn import (
    BCNN,
    from_pretrained,
    import_checkpoint,
    load,
    load_image,
    push_to_hub,
    save,
)
from .models.keras.sgd import SGD

__all__ = [
    "BCNN",
    "SGD",
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
