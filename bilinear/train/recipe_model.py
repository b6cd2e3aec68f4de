"""The model of a recipe, as plain data."""

from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, field_validator

from ..contract import refuse
from ..contract.arguments import channel_counts
from ..models.import_path import is_import_path
from ..models.plans import BACKBONES, DTYPES, IN_CHANNELS
from ..models.pools import named_pool
from ..models.streams import AUTO, Projected
from .validation import Count, one_of, reject, validated


def _check_backbone(name: str) -> str:
    known = name in BACKBONES or is_import_path(name)
    return name if known else reject(f"one of {', '.join(BACKBONES)}, or package.module:function")


Backbone = Annotated[str, AfterValidator(_check_backbone)]
CHANNELS = channel_counts("a positive integer or a list of those", 1, float("inf"))
LARGEST_PROJECTION = 4096
"""Channels after a projection: `BilinearPool` then has 2²⁴ values, 64 MiB for each image."""


def _check_projection(value: Any) -> Projected:
    count = type(value) is int and 1 <= value <= LARGEST_PROJECTION
    requirement = f"an integer from 1 to {LARGEST_PROJECTION}, '{AUTO}' or null"
    return value if count or value in (None, AUTO) else reject(requirement)


@validated
class Model:
    """The arguments of `BCNN` that a recipe sets.

    Args:
        backbone: a named backbone; or ``"package.module:function"``, a function without arguments
            that returns a module of the framework, which is imported. Default: ``"vgg16"``.
        backbone_b: the backbone of a second stream. Default: None, one shared stream.
        pool: the name of the pooling layer or preset, or a dictionary with its ``"name"`` and
            arguments, such as ``{"name": "CompactBilinearPool", "dim": 1024}``. Default: None,
            `BilinearPool`.
        projection: channels of the 1 × 1 projection before the pool, at most 4096; None for no
            projection; or ``"auto"`` (the default), which projects to 256 channels only where the
            descriptor would be longer than 2¹⁹ values, as in `BCNN`.
        taps: names of the layers whose feature maps are pooled. Default: None, the last one.
        weights: ``"imagenet"`` (the default); the path of a weight file of the backbone, or of a
            portable file, from which backbone, projection and pool start; or None, which draws
            the initial weights from the seed of the recipe.
        dtype: of the parameters. Default: ``"float32"``.
        channels: of the feature map of a custom backbone; a list for two streams, or for a backbone
            that returns several maps. Default: None, for named backbones.
        in_channels: channels of the images: 3, or 1 for gray images. Image files are converted to
            these. Default: None, those of a portable file in `weights`, else 3.
    """

    backbone: Backbone = "vgg16"
    backbone_b: Backbone | None = None
    pool: str | dict[str, Any] | None = None
    projection: Annotated[Projected, PlainValidator(_check_projection)] = AUTO
    taps: tuple[str, ...] | None = None
    weights: str | None = "imagenet"
    dtype: Annotated[str, one_of(DTYPES)] = "float32"
    channels: int | tuple[int, ...] | None = None
    in_channels: Annotated[Count, one_of((1, IN_CHANNELS))] | None = None

    @field_validator("channels", mode="before")
    @classmethod
    def _check_channels(cls, channels: Any) -> Any:
        accepted = channels is None or CHANNELS.accepts(channels)
        return channels if accepted else reject(CHANNELS.words)

    @field_validator("pool", mode="before")
    @classmethod
    def _check_pool(cls, pool: Any) -> Any:
        if pool is not None and not isinstance(pool, (str, dict)):
            reject("a name, or an object with a name and arguments")
        named_pool("Recipe: model.pool", pool, "help(bilinear.train.Model) describes the fields.")
        return pool

    def __post_init__(self) -> None:
        names = [self.backbone] if self.backbone_b is None else [self.backbone, self.backbone_b]
        custom = [name for name in names if is_import_path(name)]
        if custom and self.channels is None:
            invariant = f"model.channels must be those of the feature map of {custom[0]}"
            refuse(ValueError, "Recipe", invariant, "null", "For example --set model.channels=512.")
        if len(custom) == len(names) and self.weights == "imagenet":
            invariant = f"model.weights must be null, or a portable file, with {custom[0]}"
            remedy = "Pass --set model.weights=null. The function can load weights itself."
            refuse(ValueError, "Recipe", invariant, "'imagenet'", remedy)
