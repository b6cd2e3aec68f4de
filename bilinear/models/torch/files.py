"""Files of a PyTorch B-CNN."""

from torch import Tensor

from ..portable import Files
from . import framework
from .bcnn import BCNN

_FILES = Files[BCNN, Tensor](BCNN, framework)

save = _FILES.save
load = _FILES.load
load_image = _FILES.load_image
import_checkpoint = _FILES.import_checkpoint
