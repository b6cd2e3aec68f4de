"""Bilinear pooling and bilinear CNNs for TensorFlow and Keras.

Needs TensorFlow and Keras: ``pip install 'bilinear[tensorflow]'``. Feature maps are
(N, *spatial, C), images (N, H, W, 3); see the README for a first example.
"""

from ._require import require

require("tensorflow")

from .backends.tensorflow import require_keras_backend

require_keras_backend()

from .backends.tensorflow.bilinear_pool import bilinear_pool
from .backends.tensorflow.l2_normalize import l2_normalize
from .backends.tensorflow.layers import BilinearPool
from .backends.tensorflow.outer_pool import outer_pool
from .backends.tensorflow.signed_sqrt import signed_sqrt
from .images import Preprocessing
from .models.tensorflow.bcnn import BCNN
from .models.tensorflow.files import load, load_image, save

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
