"""Conversion of image files to model inputs, with the same preprocessing in every framework.

    images = load_images(["a.jpg", "b.png"], model.preprocessing)      # (N, H, W, 3) float32

Pillow decodes and resizes, NumPy normalizes. PyTorch models need channels first:
``torch.from_numpy(images).movedim(-1, 1)``.
"""

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from ..contract import refuse
from .image_reader import MAX_PIXELS, File, file_name, read_image

MAX_BATCH = 2**31
"""Largest size of a batch of images in bytes."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of images for a model; plain data, stored in the model's file.

    The image is resized and its center is cropped. Values are scaled to [0, 1], and each channel
    becomes ``(value − mean) / std``. The defaults are the 448 pixels of B-CNN and the mean and
    standard deviation of the ImageNet weights, for RGB. One value in `mean` and `std` is for gray
    images: files are converted to the luma 0.299 R + 0.587 G + 0.114 B. With another number of
    channels, files cannot be read; `normalize` takes arrays.

    Args:
        size: crop size in pixels: one integer, or (height, width). Default 448.
        resize: length in pixels of the shorter side after resizing, at least `size`. Default
            None: the smallest size that covers the crop.
        mean: mean of each channel on the scale [0, 1], from -1e6 to 1e6.
        std: standard deviation of each channel on the scale [0, 1], from 1e-6 to 1e6.
        square: resize both sides to `resize`, which changes the aspect ratio. Default False.

    Raises: ValueError for invalid values.
    """

    size: int | tuple[int, int] = 448
    resize: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    square: bool = False

    def __post_init__(self):
        if isinstance(self.size, (tuple, list)) and len(self.size) == 2:
            size = _pixels("height", self.size[0]), _pixels("width", self.size[1])
        else:
            size = _pixels("size", self.size)
        object.__setattr__(self, "size", size)
        if self.resize is not None:
            object.__setattr__(self, "resize", _pixels("resize", self.resize))
            if self.resize < max(self.shape):
                remedy = "With resize=None the image is resized to cover the crop."
                invariant = "resize must be at least size"
                received = f"resize {self.resize} and size {self.size}"
                refuse(ValueError, "Preprocessing", invariant, received, remedy)
        if (pixels := max(math.prod(self.shape), (self.resize or 0) ** 2)) > MAX_PIXELS:
            invariant = f"a resized image must have at most {MAX_PIXELS:,} pixels"
            remedy = "Reduce size and resize."
            refuse(ValueError, "Preprocessing", invariant, f"{pixels:,}", remedy)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))
        if len(self.mean) != len(self.std):
            invariant = "mean and std must have one number for each channel"
            received = f"{len(self.mean)} and {len(self.std)} numbers"
            refuse(ValueError, "Preprocessing", invariant, received, "Pass both.")
        if not isinstance(self.square, bool):
            invariant, remedy = "square must be True or False", "The default is False."
            refuse(ValueError, "Preprocessing", invariant, repr(self.square), remedy)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return len(self.mean)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values. `square` is included only if it is True."""
        size = list(self.size) if isinstance(self.size, tuple) else self.size
        mean, std = list(self.mean), list(self.std)
        data = {"size": size, "resize": self.resize, "mean": mean, "std": std}
        return data | ({"square": True} if self.square else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`. Raises: ValueError for a missing or unknown field."""
        names = [field.name for field in fields(cls)]
        required = set(names) - {"square"}
        if not isinstance(data, Mapping) or not required <= data.keys() <= set(names):
            received = sorted(data, key=str) if isinstance(data, Mapping) else type(data).__name__
            invariant = f"the fields must be {', '.join(names)}"
            remedy = "Create the dictionary with to_dict."
            refuse(ValueError, "Preprocessing", invariant, f"{received}", remedy)
        return cls(**data)


def _pixels(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        invariant = f"{name} must be a positive integer, in pixels"
        refuse(ValueError, "Preprocessing", invariant, repr(value), "The default is 448.")
    return int(value)


def _per_channel(name: str, value: Any) -> tuple[float, ...]:
    least, most = (1e-6 if name == "std" else -1e6), 1e6  # float32 images stay finite
    listed = list(value) if isinstance(value, (tuple, list, np.ndarray)) else []
    real: list[Any] = [x for x in listed if isinstance(x, numbers.Real)]
    good = [x for x in real if least <= x <= most]
    if not good or len(good) != len(listed):
        invariant = f"{name} must be numbers from {least:g} to {most:g}, one for each channel"
        remedy = "Pass the values of red, green and blue on the scale [0, 1]."
        refuse(ValueError, "Preprocessing", invariant, repr(value), remedy)
    return tuple(map(float, listed))


def load_image(file: File, preprocessing: Preprocessing) -> np.ndarray:
    """Load one image file as model input: (H, W, C) float32.

    Raises: as `read_image`; ValueError if `preprocessing` is neither for RGB nor for gray images.

    Pillow's bilinear resize is used, which is antialiased. Sizes and crop positions are rounded as
    in torchvision and timm for Pillow images.
    """
    return normalize(load_pixels(file, preprocessing), preprocessing)


def load_pixels(file: File, preprocessing: Preprocessing) -> np.ndarray:
    """Load one image file, resized and cropped: (H, W, C) uint8. Raises: as `load_image`."""
    check_readable("load_image", preprocessing)
    image = cover(read_image(file), preprocessing, file_name(file))
    return to_pixels(center_crop(image, preprocessing.shape), preprocessing)


def check_readable(op: str, preprocessing: Preprocessing) -> None:
    """Raise ValueError unless image files have the channels that `preprocessing` describes."""
    if (channels := preprocessing.channels) not in (1, 3):
        remedy = "Pass your own arrays to normalize and to the model."
        invariant = "image files are read as 3 channels or 1"
        refuse(ValueError, op, invariant, f"a Preprocessing of {channels}", remedy)


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return the uint8 values of an RGB image, (H, W, 3), or of its luma, (H, W, 1)."""
    if preprocessing.channels == 1:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image)


def cover(image: Image.Image, preprocessing: Preprocessing, name: str) -> Image.Image:
    """Resize an image so that it covers the crop. Raises: ValueError above `MAX_PIXELS` pixels."""
    height, width = _resized_shape(image.height, image.width, preprocessing)
    if height * width > MAX_PIXELS:
        invariant = f"{name} must have at most {MAX_PIXELS:,} pixels after resizing"
        received = f"{image.width} × {image.height}, resized to {width} × {height}"
        refuse(ValueError, "load_image", invariant, received, "Cut the long image into pieces.")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def center_crop(image: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """Take a crop of `shape` (rows, columns) from the center of an image."""
    rows, columns = shape
    top, left = round((image.height - rows) / 2), round((image.width - columns) / 2)
    return image.crop((left, top, left + columns, top + rows))


def normalize(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Compute ``(pixels / 255 − mean) / std`` for each channel: (..., W, C) uint8 to float32."""
    width = pixels.shape[-2]
    # whole rows at once: NumPy is many times slower over an axis of length 3 or 1
    mean = np.tile(np.array(preprocessing.mean, np.float32), width)
    std = np.tile(np.array(preprocessing.std, np.float32), width)
    rows = pixels.reshape(*pixels.shape[:-2], -1).astype(np.float32)
    rows /= np.float32(255)
    rows -= mean
    rows /= std
    return rows.reshape(pixels.shape)


def check_batch(op: str, count: int, preprocessing: Preprocessing) -> None:
    """Raise ValueError if a float32 batch of `count` images has more than `MAX_BATCH` bytes."""
    rows, columns = preprocessing.shape
    if (size := 4 * preprocessing.channels * count * rows * columns) > MAX_BATCH:
        invariant = f"a batch must have at most {MAX_BATCH / 2**30:g} GiB"
        received = f"{count:,} images of {rows} × {columns} pixels with {size / 2**30:.1f} GiB"
        refuse(ValueError, op, invariant, received, "Use a smaller batch.")


def load_images(files: Iterable[File], preprocessing: Preprocessing) -> np.ndarray:
    """Load image files as one batch: (N, H, W, C) float32.

    Raises: as `load_image`; ValueError if the batch has more than `MAX_BATCH` bytes.
    """
    files = list(files)
    check_batch("load_images", len(files), preprocessing)
    batch = np.empty((len(files), *preprocessing.shape, preprocessing.channels), np.float32)
    for image, file in zip(batch, files, strict=True):
        image[...] = load_image(file, preprocessing)
    return batch


def _resized_shape(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width after resizing: one side is exact, the other is rounded down."""
    rows, columns = preprocessing.shape
    if preprocessing.square:
        side = preprocessing.resize or max(rows, columns)
        return side, side
    if preprocessing.resize is not None:
        rows = columns = preprocessing.resize
    if rows * width >= columns * height:
        return rows, width * rows // height
    return height * columns // width, columns
