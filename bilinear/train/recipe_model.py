"""The model of a recipe, as plain data."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from ..models.plans import BACKBONES, DTYPES
from ..models.pools import named_pool
from .validation import Count, one_of, reject, validated

Backbone = Annotated[str, one_of(BACKBONES)]
Projected = Annotated[Count, Field(le=4096)]
"""Channels after a projection: `BilinearPool` then has 2²⁴ values, 64 MiB for each image."""


@validated
class Model:
    """The arguments of `BCNN` that a recipe sets.

    Args:
        backbone: a named backbone. Default: ``"vgg16"``.
        backbone_b: the backbone of a second stream. Default: None, one shared stream.
        pool: the name of the pooling layer or preset, or a dictionary with its ``"name"`` and
            arguments, such as ``{"name": "CompactBilinearPool", "dim": 1024}``. Default: None,
            `BilinearPool`.
        projection: channels of the 1 × 1 projection before the pool, at most 4096. Default: None,
            none.
        taps: names of the layers whose feature maps are pooled. Default: None, the last one.
        weights: ``"imagenet"`` (the default); the path of a weight file of the backbone, or of a
            portable file, from which backbone, projection and pool start; or None, which draws
            the initial weights from the seed of the recipe.
        dtype: of the parameters. Default: ``"float32"``.
    """

    backbone: Backbone = "vgg16"
    backbone_b: Backbone | None = None
    pool: str | dict[str, Any] | None = None
    projection: Projected | None = None
    taps: tuple[str, ...] | None = None
    weights: str | None = "imagenet"
    dtype: Annotated[str, one_of(DTYPES)] = "float32"

    @field_validator("pool", mode="before")
    @classmethod
    def _check_pool(cls, pool: Any) -> Any:
        if pool is not None and not isinstance(pool, (str, dict)):
            reject("a name, or an object with a name and arguments")
        named_pool("Recipe: model.pool", pool, "help(bilinear.train.Model) describes the fields.")
        return pool
