"""The one table of layers: arguments, feature maps, descriptor sizes and tensors of each class.

It feeds the constructors of all backends, ``get_config`` of Keras, ``extra_repr`` of PyTorch and
the portable file, in which a layer is ``{"name": class, **arguments}``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .arguments import as_list, check_argument, plain_channels
from .arrays import ACCUMULATION, RANGE, Spec, check_operands
from .errors import refuse
from .layer_arguments import (
    Argument,
    BilinearPoolArguments,
    CompactBilinearPoolArguments,
    CovariancePoolArguments,
    DemocraticPoolArguments,
    HierarchicalBilinearPoolArguments,
    ImprovedBilinearPoolArguments,
    LowRankBilinearClassifierArguments,
    LowRankBilinearPoolArguments,
    OuterMaxPoolArguments,
    ProjectionArguments,
    arguments_of,
)
from .layer_tensors import (
    Arguments,
    Sizes,
    TensorSpec,
    classifier_tensors,
    hierarchical_tensors,
    low_rank_tensors,
    sketch_tensors,
)
from .options import DescriptorOptions, check_forms, check_options
from .pooling import check_one_stream, descriptor_size, packed_size


class Layer(NamedTuple):
    """One class of layers."""

    arguments: Mapping[str, Argument]
    size: Callable[[Arguments, Sizes], int]
    """The length of the descriptor, by the arguments and the channels of each feature map."""
    tensors: Callable[[Arguments, Sizes], dict[str, TensorSpec]] = lambda arguments, channels: {}
    maps: tuple[int, float] = (1, 2)
    """The least and the largest number of feature maps."""
    optional: frozenset[str] = frozenset()
    """Arguments that a file leaves out where they have their default."""
    is_pool: bool = True
    """Whether the layer can be the pool of a model."""
    unit_length: bool = True
    """Whether its output is divided by its length."""


def check_arguments(layer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check a constructor's arguments and return them in normal form; other entries are ignored."""
    normal = {}
    for name, (kind, _) in LAYERS[layer].arguments.items():
        value = given[name]
        check_argument(layer, name, value, kind)
        normal[name] = kind.normalize(value)
    check_forms(layer, normal.get("eps"), normal.get("root", "signed"), normal.get("slope_eps"))
    return normal


def read_arguments(layer: str, instance: object) -> dict[str, Any]:
    """The arguments that make `instance`, a layer of this class, again."""
    return {name: getattr(instance, name) for name in LAYERS[layer].arguments}


def argument_text(layer: str, instance: object) -> str:
    """The arguments of `instance` as its representation shows them."""
    arguments = read_arguments(layer, instance)
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items() if name != "pool")


def check_channels(op: str, channels: Any, *found: Any) -> None:
    """Check that there is one map for each of `channels`; None in `found` is not known yet."""
    counts = as_list(channels)
    if len(found) != len(counts):
        made_for = plain_channels(channels)
        requirement = f"the layer must be called with one map for each of channels {made_for}"
        remedy = "Give channels a list with one int for each map, or an int for one map."
        refuse(ValueError, op, requirement, f"{len(found)}", remedy)
    for size, count in zip(found, counts, strict=True):
        if size is not None and size != count:
            requirement = f"a map must have the {count} channels that the layer was made for"
            refuse(ValueError, op, requirement, f"{size}")


def check_maps(op: str, maps: Sequence[Spec], channels: Any, *, channels_first: bool) -> None:
    """`check_channels` for feature maps in the layout of a layer."""
    axis = 1 if channels_first else -1
    shapes = [x.shape or () for x in maps]  # a shape of too few axes is refused later
    check_channels(op, channels, *(s[axis] if len(s) > 1 else None for s in shapes))


def check_call(
    op: str,
    x: Spec,
    y: Spec | None = None,
    mask: Spec | None = None,
    *,
    channels_first: bool = False,
    channels: Any = None,
    options: DescriptorOptions | None = None,
) -> None:
    """Check what a layer made for `channels` (None: any) is called with, and the range of eps."""
    check_operands(op, x, y, mask, channels_first=channels_first)
    if channels is not None:
        maps = [x] if y is None else [x, y]
        check_maps(op, maps, channels, channels_first=channels_first)
    if options is None:
        return
    low, high = RANGE[ACCUMULATION[x.dtype]]
    eps = options.eps or low, options.l2_eps, options.slope_eps or low
    if min(eps) < low or max(eps) > high or (options.packed and y is not None):
        check_options(op, options, x.dtype, y)


def descriptor_length(layer: str, instance: object, *channels: int | None) -> int:
    """The length of the descriptor of maps with these channels; None is a map that is not given."""
    given = [c for c in channels if c is not None]
    if len(given) > LAYERS[layer].maps[1]:
        check_one_stream(layer, *given)
    return LAYERS[layer].size(read_arguments(layer, instance), given)


def _outer_size(arguments: Arguments, channels: Sizes) -> int:
    return channels[0] * channels[-1]


def _packed_size(arguments: Arguments, channels: Sizes) -> int:
    return packed_size(channels[0])


def _bilinear_size(arguments: Arguments, channels: Sizes) -> int:
    packed, pair = arguments.get("packed", False), channels[1] if len(channels) > 1 else None
    return descriptor_size("BilinearPool", packed, channels[0], pair)


def _dim(arguments: Arguments, channels: Sizes) -> int:
    return arguments["dim"]


def _inner_tensors(arguments: Arguments, channels: Sizes) -> dict[str, TensorSpec]:
    inner = arguments["pool"]
    found = LAYERS[inner["name"]].tensors(inner, channels)
    return {f"pool.{name}": spec for name, spec in found.items()}


def _inner_size(arguments: Arguments, channels: Sizes) -> int:
    inner = arguments["pool"]
    return LAYERS[inner["name"]].size(inner, channels)


LAYERS: dict[str, Layer] = {
    "BilinearPool": Layer(
        arguments_of(BilinearPoolArguments),
        _bilinear_size,
        optional=frozenset({"packed", "root", "slope_eps", "norm"}),
    ),
    "CompactBilinearPool": Layer(arguments_of(CompactBilinearPoolArguments), _dim, sketch_tensors),
    "CovariancePool": Layer(
        arguments_of(CovariancePoolArguments), _packed_size, maps=(1, 1), unit_length=False
    ),
    "ImprovedBilinearPool": Layer(
        arguments_of(ImprovedBilinearPoolArguments), _outer_size, maps=(1, 1)
    ),
    "LowRankBilinearPool": Layer(
        arguments_of(LowRankBilinearPoolArguments), _dim, low_rank_tensors
    ),
    "LowRankBilinearClassifier": Layer(
        arguments_of(LowRankBilinearClassifierArguments),
        lambda arguments, channels: arguments["num_classes"],
        classifier_tensors,
        maps=(1, 1),
        unit_length=False,
    ),
    "HierarchicalBilinearPool": Layer(
        arguments_of(HierarchicalBilinearPoolArguments),
        lambda arguments, channels: arguments["dim"] * math.comb(len(channels), 2),
        hierarchical_tensors,
        maps=(2, math.inf),
    ),
    "DemocraticPool": Layer(
        arguments_of(DemocraticPoolArguments), _inner_size, _inner_tensors, maps=(1, 1)
    ),
    "OuterMaxPool": Layer(arguments_of(OuterMaxPoolArguments), _outer_size),
    "AveragePool": Layer(
        {}, lambda arguments, channels: channels[0], maps=(1, 1), unit_length=False
    ),
    "Projection": Layer(
        arguments_of(ProjectionArguments),
        _dim,
        lambda arguments, channels: {"weight": TensorSpec((arguments["dim"], channels[0]))},
        maps=(1, 1),
        is_pool=False,
    ),
}
"""Class name -> what is known of the layer without a framework."""
