"""Bilinear pooling and bilinear CNNs for PyTorch.

Needs PyTorch: ``pip install 'bilinear[torch]'``. Feature maps are (N, C, *spatial), images
(N, 3, H, W); see the README for a first example.
"""

from ._require import require

require("torch")

from .backends.torch.bilinear_pool import bilinear_pool
from .backends.torch.l2_normalize import l2_normalize
from .backends.torch.layers import BilinearPool
from .backends.torch.outer_pool import outer_pool
from .backends.torch.signed_sqrt import signed_sqrt
from .images import Preprocessing
from .models.torch.bcnn import BCNN
from .models.torch.files import load, load_image, save

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
