"""Files of a JAX B-CNN."""

import jax

from ..portable import Files
from . import framework
from .bcnn import BCNN

_FILES = Files[BCNN, jax.Array](BCNN, framework)

save = _FILES.save
load = _FILES.load
load_image = _FILES.load_image
import_checkpoint = _FILES.import_checkpoint
