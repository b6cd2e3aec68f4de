"""Conversion of image files to model inputs, with the same preprocessing in every framework.

    images = load_images(["a.jpg", "b.png"], model.preprocessing)      # (N, H, W, 3) float32

Pillow decodes and resizes, NumPy normalises. PyTorch models need channels first:
``torch.from_numpy(images).movedim(-1, 1)``.
"""

import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, NoReturn

import numpy as np
from PIL import Image

from .._files import open_regular
from ..contract import message, refuse

File = str | os.PathLike | BinaryIO

MAX_PIXELS = 89_478_485
"""Larger images are refused before decoding. Pillow warns about decompression bombs above it."""

_UPRIGHT = {  # EXIF orientation -> transposition that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of images for a model; plain data, stored in the model's file.

    The image is resized and its centre is cropped. RGB values are scaled to [0, 1], and each
    channel becomes ``(value − mean) / std``. The defaults are the 448 pixels of B-CNN and the mean
    and standard deviation of the ImageNet weights.

    Args:
        size: crop size in pixels: one integer, or (height, width). Default 448.
        resize: length in pixels of the shorter side after resizing, at least `size`. Default
            None: the smallest size that covers the crop.
        mean: mean of red, green and blue on the scale [0, 1], from -1e6 to 1e6.
        std: standard deviation of red, green and blue on the scale [0, 1], from 1e-6 to 1e6.
        square: resize both sides to `resize`, which changes the aspect ratio. Default False.

    Raises: ValueError for invalid values.
    """

    size: int | tuple[int, int] = 448
    resize: int | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
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
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        if not isinstance(self.square, bool):
            invariant, remedy = "square must be True or False", "The default is False."
            refuse(ValueError, "Preprocessing", invariant, repr(self.square), remedy)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

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


def _three(name: str, value: Any) -> tuple[float, ...]:
    least, most = (1e-6 if name == "std" else -1e6), 1e6  # float32 images stay finite
    listed = list(value) if isinstance(value, (tuple, list, np.ndarray)) else []
    good = [x for x in listed if isinstance(x, numbers.Real) and least <= x <= most]
    if not len(listed) == len(good) == 3:
        invariant = f"{name} must be three numbers from {least:g} to {most:g}"
        remedy = "Pass the values of red, green and blue on the scale [0, 1]."
        refuse(ValueError, "Preprocessing", invariant, repr(value), remedy)
    return tuple(map(float, listed))


def load_image(file: File, preprocessing: Preprocessing) -> np.ndarray:
    """Load one image file as model input: (H, W, 3) float32. Raises: as `read_image`.

    Pillow's bilinear resize is used, which is antialiased. Sizes and crop positions are rounded as
    in torchvision and timm for Pillow images.
    """
    image = cover(read_image(file), preprocessing, _name(file))
    return normalize(np.asarray(centre_crop(image, preprocessing.shape)), preprocessing)


def cover(image: Image.Image, preprocessing: Preprocessing, name: str) -> Image.Image:
    """Resize an image so that it covers the crop. Raises: ValueError above `MAX_PIXELS` pixels."""
    height, width = _resized_shape(image.height, image.width, preprocessing)
    if height * width > MAX_PIXELS:
        invariant = f"{name} must have at most {MAX_PIXELS:,} pixels after resizing"
        received = f"{image.width} × {image.height}, resized to {width} × {height}"
        refuse(ValueError, "load_image", invariant, received, "Cut the long image into pieces.")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """Take a crop of `shape` (rows, columns) from the centre of an image."""
    rows, columns = shape
    top, left = round((image.height - rows) / 2), round((image.width - columns) / 2)
    return image.crop((left, top, left + columns, top + rows))


def normalize(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Compute ``(pixels / 255 − mean) / std`` for each channel: (..., W, 3) uint8 to float32."""
    width = pixels.shape[-2]
    # whole rows at once: NumPy is many times slower over an axis of length 3
    mean = np.tile(np.array(preprocessing.mean, np.float32), width)
    std = np.tile(np.array(preprocessing.std, np.float32), width)
    rows = pixels.reshape(*pixels.shape[:-2], 3 * width).astype(np.float32)
    rows /= np.float32(255)
    rows -= mean
    rows /= std
    return rows.reshape(pixels.shape)


def load_images(files: Iterable[File], preprocessing: Preprocessing) -> np.ndarray:
    """Load image files as one batch: (N, H, W, 3) float32. Raises: as `read_image`."""
    files = list(files)
    batch = np.empty((len(files), *preprocessing.shape, 3), np.float32)
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


def read_image(file: File) -> Image.Image:
    """Read an image from a path or a binary file object as an upright 8-bit RGB image.

    - EXIF orientation is applied. Only the first frame of an animation is read.
    - Transparent images are composited over white. The colours of transparent pixels are
      arbitrary, so dropping the alpha channel would show them.
    - 16-bit values are scaled by 1/257, not clipped. 32-bit integers are read as 16-bit values.
      Floating-point images are on the scale [0, 1], or [0, 255] if a value exceeds 1.

    Raises: ValueError that names the file if it is not an image, is damaged, truncated or empty,
        has more than `MAX_PIXELS` pixels (checked in its header, before decoding), or has values
        outside these scales; OSError if the path cannot be opened or is not a regular file;
        TypeError if `file` is neither a path nor a binary file object.
    """
    if isinstance(file, (str, os.PathLike)):
        with open_regular(file) as stream:
            return _decode(stream, _name(file))
    if not hasattr(file, "read"):
        received = f"{type(file).__module__}.{type(file).__qualname__}"
        invariant = "file must be a path or a binary file object"
        refuse(TypeError, "read_image", invariant, received, "Wrap encoded bytes in io.BytesIO.")
    return _decode(file, _name(file))


def _name(file: File) -> str:
    if isinstance(file, (str, os.PathLike)):
        return os.fsdecode(file)
    return str(getattr(file, "name", f"the {type(file).__name__}"))


def _decode(stream: BinaryIO, name: str) -> Image.Image:
    with _name_in_errors(name):
        image = Image.open(stream)
    with image:
        if not 0 < image.width * image.height <= MAX_PIXELS:
            _refuse_size(name, f"{image.width} × {image.height}")
        with _name_in_errors(name):
            image.load()
            turn = _turn(image)
        grey = _grey(name, image) if image.mode.startswith(("I", "F")) else image
        with _name_in_errors(name):
            if grey.has_transparency_data:
                white = Image.new("RGBA", grey.size, "white")
                grey = Image.alpha_composite(white, grey.convert("RGBA"))
            rgb = grey.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def _name_in_errors(name: str) -> Iterator[None]:
    """Convert any error that Pillow raises to a ValueError that names the file."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _refuse_size(name, str(error))
    except Exception as error:  # decoders raise many types for damaged data
        invariant = f"{name} must be a complete image file that Pillow can read"
        remedy = "The file is damaged or not an image. Download or export it again."
        received = f"{type(error).__name__}: {error}"
        raise ValueError(message("read_image", invariant, received, remedy)) from error


def _refuse_size(name: str, received: str) -> NoReturn:
    invariant = f"{name} must have between 1 and {MAX_PIXELS:,} pixels"
    refuse(ValueError, "read_image", invariant, received, "Reduce its size first.")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The transposition for the EXIF orientation; after `load`, as some formats store EXIF last."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF data does not affect the pixels
        return None


def _grey(name: str, image: Image.Image) -> Image.Image:
    """Convert one channel of 16 or 32 bits to 8 bits. Pillow's conversion would clip it."""
    values = np.asarray(image)
    low, high = values.min(), values.max()  # NaN if any value is
    largest, scale = (255, "[0, 255]") if image.mode == "F" else (65535, "[0, 65535]")
    if not (low >= 0 and high <= largest):
        remedy = "Export it with 8 or 16 bits per channel."
        invariant = f"values of {name} (mode {image.mode}) must be in {scale}"
        refuse(ValueError, "read_image", invariant, f"values from {low} to {high}", remedy)
    if image.mode == "F":
        grey = np.rint(values * 255 if high <= 1 else values)
    else:
        grey = (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(grey.astype(np.uint8))
