"""Bilinear pooling and bilinear CNNs for Keras on TensorFlow, JAX and PyTorch.

Needs Keras and one of the three frameworks, which ``KERAS_BACKEND`` selects:
``pip install 'bilinear[keras]'`` installs Keras. The layers call the operators of that framework:
values, gradients and errors are those of `bilinear.tensorflow`, `bilinear.jax` or `bilinear.torch`,
where the operators are functions. They cast to their dtype policy and use the masks that Keras
stores on feature maps. A ``.keras`` file opens on every backend, and the file that `save` writes in
every namespace. Feature maps are (N, *spatial, C) by default, images (N, H, W, 3).
"""

from ._require import require_packages

require_packages("bilinear.keras", ("keras",), "keras")

from .backends.keras import BACKENDS, require_keras_backend

require_keras_backend("keras", *BACKENDS)

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
    "from_pretrained",
    "import_checkpoint",
    "load",
    "load_image",
    "maclaurin_tables",
    "preset",
    "push_to_hub",
    "save",
    "sketch_tables",
]
