"""The contract of every backend: shapes, dtypes, defaults, arguments and error texts.

Nothing here imports a framework. A backend describes its arrays by `Spec` and calls the check of
its operator before it computes, so that every namespace raises the same text for the same mistake.
ValueError is for shapes and values, TypeError for dtypes, devices and types.

`layers.LAYERS` is the one table of layers, `options.DescriptorOptions` the options of a descriptor.
"""

from .arguments import check_argument
from .arrays import (
    ACCUMULATION,
    Spec,
    check_batch_norm,
    check_float,
    check_images,
    check_operands,
    check_same_device,
    check_tensor,
)
from .errors import message, refuse
from .options import (
    EPS,
    L2_EPS,
    DescriptorOptions,
    Norm,
    Reduction,
    Root,
    check_eps,
    check_floor,
    check_reduction,
    check_root_and_norm,
)

__all__ = [
    "ACCUMULATION",
    "EPS",
    "L2_EPS",
    "DescriptorOptions",
    "Norm",
    "Reduction",
    "Root",
    "Spec",
    "check_argument",
    "check_batch_norm",
    "check_eps",
    "check_float",
    "check_floor",
    "check_images",
    "check_operands",
    "check_reduction",
    "check_root_and_norm",
    "check_same_device",
    "check_tensor",
    "message",
    "refuse",
]
