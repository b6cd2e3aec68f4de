"""Keras layers of bilinear pooling, for Keras on TensorFlow, JAX and PyTorch.

Needs Keras and one of the three frameworks, which ``KERAS_BACKEND`` selects:
``pip install 'bilinear[keras]'`` installs Keras. The layers call the operators of that framework:
values, gradients and errors are those of `bilinear.tensorflow`, `bilinear.jax` or `bilinear.torch`,
where the operators are functions. They cast to their dtype policy and use the masks that Keras
stores on feature maps. A ``.keras`` file with these layers opens on every backend.

`BCNN` and its files are in `bilinear.tensorflow`, for Keras on TensorFlow only.
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

__all__ = [
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
    "Projection",
    "SketchTables",
    "maclaurin_tables",
    "preset",
    "sketch_tables",
]

_ELSEWHERE = (
    "BCNN",
    "SGD",
    "from_pretrained",
    "import_checkpoint",
    "load",
    "load_image",
    "push_to_hub",
    "save",
)


def __getattr__(name: str) -> object:
    """ImportError for the names of other namespaces, which models and their files need."""
    if name in _ELSEWHERE:
        raise ImportError(
            f"bilinear.keras has layers only, and no {name}; import it from bilinear.tensorflow, "
            "which needs KERAS_BACKEND=tensorflow, or use bilinear.jax or bilinear.torch without "
            "Keras."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
