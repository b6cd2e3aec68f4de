"""How an image becomes the input of a model, as data."""

import math
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StrictBool, ValidationInfo, field_validator

from ..data.augment import LARGEST
from ..data.images import MAX_PIXELS
from .validation import Count, NonNegative, Positive, reject, validated

LARGEST_SIDE = math.isqrt(MAX_PIXELS)
"""Of an image in pixels: larger images are refused when they are read."""
Side = Annotated[Count, Field(le=LARGEST_SIDE)]

Fraction = Annotated[Positive, Field(le=1)]


def _check_size(size: Any) -> int | tuple[int, int]:
    pair = isinstance(size, (list, tuple)) and len(size) == 2
    for side in size if pair else [size]:
        if type(side) is not int or not 1 <= side <= LARGEST_SIDE:
            reject(f"an integer from 1 to {LARGEST_SIDE}, or two, [rows, columns]")
    checked: Any = (size[0], size[1]) if pair else size
    return checked


@validated
class Images:
    """How an image becomes the input of the model.

    Args:
        size: side of the square crop, or its rows and columns, in pixels, at most 9459. Default:
            448.
        resize: length to which the shorter side is resized before the crop, in pixels, at least
            `size`. Default: None, the shortest that contains the crop.
        square: resize both sides to `resize` and ignore the aspect ratio. Default: False.
        random_crop: crop at a random position in training. Default: True. Validation uses the
            center.
        flip: mirror a training image with probability 0.5. Default: True.
        scale: in training, resize a rectangle with a random area in this range, as a fraction of
            the image, to the crop. Default: None, a crop of fixed size.
        rotation, brightness, contrast, saturation, hue, erasing: as in
            `bilinear.data.Augmentation`. Default: 0.
    """

    size: Annotated[int | tuple[int, int], PlainValidator(_check_size)] = 448
    resize: Side | None = None
    square: StrictBool = False
    random_crop: StrictBool = True
    flip: StrictBool = True
    scale: tuple[Fraction, Fraction] | None = None
    rotation: Annotated[NonNegative, Field(le=LARGEST["rotation"])] = 0.0
    brightness: Annotated[NonNegative, Field(le=LARGEST["brightness"])] = 0.0
    contrast: Annotated[NonNegative, Field(le=LARGEST["contrast"])] = 0.0
    saturation: Annotated[NonNegative, Field(le=LARGEST["saturation"])] = 0.0
    hue: Annotated[NonNegative, Field(le=LARGEST["hue"])] = 0.0
    erasing: Annotated[NonNegative, Field(le=LARGEST["erasing"])] = 0.0

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: tuple | None) -> tuple | None:
        return scale if scale is None or scale[0] <= scale[1] else reject("in ascending order")

    @field_validator("resize")
    @classmethod
    def _check_resize(cls, resize: int | None, info: ValidationInfo) -> int | None:
        size = info.data.get("size", 0)
        largest = max(size) if isinstance(size, tuple) else size
        return resize if resize is None or resize >= largest else reject(f"at least size, {size}")
