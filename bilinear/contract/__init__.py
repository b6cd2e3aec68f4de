"""The contract of every backend: shapes, dtypes, defaults, arguments and error texts.

Nothing here imports a framework. A backend describes its arrays by `Spec` and calls the check of
its operator before it computes, so that every namespace raises the same text for the same mistake.
ValueError is for shapes and values, TypeError for dtypes, devices and types.

`layers.LAYERS` is the one table of layers, `options.DescriptorOptions` the options of a descriptor.
"""

from .arguments import check_argument as check_argument
from .arrays import ACCUMULATION as ACCUMULATION
from .arrays import Spec as Spec
from .arrays import check_batch_norm as check_batch_norm
from .arrays import check_feature_maps as check_feature_maps
from .arrays import check_float as check_float
from .arrays import check_images as check_images
from .arrays import check_operands as check_operands
from .arrays import check_same_device as check_same_device
from .arrays import check_tensor as check_tensor
from .errors import message as message
from .errors import refuse as refuse
from .options import EPS as EPS
from .options import L2_EPS as L2_EPS
from .options import DescriptorOptions as DescriptorOptions
from .options import Norm as Norm
from .options import Reduction as Reduction
from .options import Root as Root
from .options import check_eps as check_eps
from .options import check_floor as check_floor
from .options import check_reduction as check_reduction
from .options import check_root_and_norm as check_root_and_norm
