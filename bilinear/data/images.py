"""Image files to the arrays the models take: one preprocessing for every framework.

    images = load_images(["a.jpg", "b.png"], model.preprocessing)      # (N, H, W, 3) float32

Pillow decodes and resizes, NumPy normalises; PyTorch users move the last axis to the second.
"""

import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, NoReturn

import numpy as np
from PIL import Image

from ..contract import message, refuse

File = str | os.PathLike | BinaryIO

MAX_PIXELS = 89_478_485
"""More pixels than this are refused before decoding (Pillow warns of a bomb at the same number)."""

_UPRIGHT = {  # EXIF orientation -> what turns the stored image upright
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
    """How an image becomes a model's input; plain data, kept in a model's file.

    The shorter side is resized to `resize` (None: just enough to cover `size`), with `square`
    both sides, whatever the aspect; the centre of `size` (one number, or height and width) is cut
    out, RGB is scaled to [0, 1], and each channel becomes ``(value − mean) / std``. The defaults
    are B-CNN's 448 pixels and the mean and deviation the ImageNet weights were trained with.

    Raises: ValueError for sizes that are not positive, a `resize` smaller than `size` (the crop
        would leave the image), a `square` that is not true or false, or a mean and std that are
        not three finite numbers, std > 0.
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
                remedy = "The crop must lie inside the resized image; None resizes just enough."
                invariant = "resize must be at least size"
                received = f"resize {self.resize} and size {self.size}"
                refuse(ValueError, "Preprocessing", invariant, received, remedy)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        if not isinstance(self.square, bool):
            invariant, remedy = "square must be true or false", "The default is False."
            refuse(ValueError, "Preprocessing", invariant, repr(self.square), remedy)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: numbers, lists and None; `square` only where it is true.

        So what has none can be read by versions that know of none.
        """
        size = list(self.size) if isinstance(self.size, tuple) else self.size
        mean, std = list(self.mean), list(self.std)
        data = {"size": size, "resize": self.resize, "mean": mean, "std": std}
        return data | ({"square": True} if self.square else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`. Raises: ValueError for a missing or unknown field."""
        names = [field.name for field in fields(cls)]
        least = set(names) - {"square"}
        if not isinstance(data, Mapping) or not least <= data.keys() <= set(names):
            received = sorted(data, key=str) if isinstance(data, Mapping) else type(data).__name__
            invariant = f"the fields must be {', '.join(names)}"
            remedy = "Make the dictionary with to_dict."
            refuse(ValueError, "Preprocessing", invariant, f"{received}", remedy)
        return cls(**data)


def _pixels(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        invariant = f"{name} must be a positive whole number of pixels"
        refuse(ValueError, "Preprocessing", invariant, repr(value), "The default is 448.")
    return int(value)


def _three(name: str, value: Any) -> tuple[float, ...]:
    least = 0 if name == "std" else -math.inf
    listed = list(value) if isinstance(value, (tuple, list, np.ndarray)) else []
    good = len(listed) == 3 and all(
        isinstance(number, numbers.Real) and math.isfinite(number) and float(number) > least
        for number in listed
    )
    if not good:
        invariant = f"{name} must be three finite numbers{' above 0' if name == 'std' else ''}"
        remedy = "They are for red, green and blue, on the scale [0, 1]."
        refuse(ValueError, "Preprocessing", invariant, repr(value), remedy)
    return tuple(float(number) for number in listed)


def load_image(file: File, preprocessing: Preprocessing) -> np.ndarray:
    """One file as a model takes it: (H, W, 3) float32.

    The resize is Pillow's bilinear one, which averages over as many pixels as it shrinks, and
    sizes and crop are rounded as torchvision and timm round them for Pillow images.
    Raises: what `read_image` raises.
    """
    image = cover(read_image(file), preprocessing, _name(file))
    return normalize(np.asarray(centre_crop(image, preprocessing.shape)), preprocessing)


def cover(image: Image.Image, preprocessing: Preprocessing, name: str) -> Image.Image:
    """The image resized for the crop of `preprocessing`, which it then covers.

    Raises: ValueError naming the file for a strip that would grow beyond `MAX_PIXELS`.
    """
    height, width = _resized(image.height, image.width, preprocessing)
    if height * width > MAX_PIXELS:
        invariant = f"{name} resized for the crop must have at most {MAX_PIXELS:,} pixels"
        received = f"{image.width} × {image.height}, resized to {width} × {height}"
        refuse(ValueError, "load_image", invariant, received, "Cut the long strip into pieces.")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """The middle of an image, `shape` rows and columns of it."""
    rows, columns = shape
    top, left = round((image.height - rows) / 2), round((image.width - columns) / 2)
    return image.crop((left, top, left + columns, top + rows))


def normalize(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """``(pixels / 255 − mean) / std`` of each channel: (..., W, 3) uint8 to float32."""
    width = pixels.shape[-2]
    # a row of all its channels at once: over an axis of three NumPy is many times slower
    mean = np.tile(np.array(preprocessing.mean, np.float32), width)
    std = np.tile(np.array(preprocessing.std, np.float32), width)
    rows = pixels.reshape(*pixels.shape[:-2], 3 * width).astype(np.float32)
    rows /= np.float32(255)
    rows -= mean
    rows /= std
    return rows.reshape(pixels.shape)


def load_images(files: Iterable[File], preprocessing: Preprocessing) -> np.ndarray:
    """Several files as a batch: (N, H, W, 3) float32. Raises: what `read_image` raises."""
    files = list(files)
    batch = np.empty((len(files), *preprocessing.shape, 3), np.float32)
    for place, file in zip(batch, files, strict=True):
        place[...] = load_image(file, preprocessing)
    return batch


def _resized(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """The size before the crop, which it covers: one side exact, the other rounded down."""
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
    """An upright 8-bit RGB image from a path or a binary file object, whatever its mode.

    - EXIF orientation is applied; of an animation the first frame is taken.
    - Transparency is composited over white, as a viewer shows it: the colours hidden under
      transparent pixels are arbitrary, and dropping alpha would bring them out.
    - 16-bit values are scaled by 1/257, not clipped; so are 32-bit integers, which hold 16-bit
      data. Floating images are on the scale [0, 1], or [0, 255] where a value exceeds 1.

    Raises: ValueError naming the file for one that is not an image, is broken, truncated or
        empty, has more than `MAX_PIXELS` pixels (found in its header, before it is decoded), or
        holds values outside those scales; OSError, as `open` has it, for a path that cannot be
        opened; TypeError for anything that is neither a path nor a binary file object.
    """
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            return _decode(stream, _name(file))
    if not hasattr(file, "read"):
        received = f"{type(file).__module__}.{type(file).__qualname__}"
        remedy = "Wrap encoded bytes in io.BytesIO."
        refuse(TypeError, "read_image", "file must be a path or a binary file", received, remedy)
    return _decode(file, _name(file))


def _name(file: File) -> str:
    if isinstance(file, (str, os.PathLike)):
        return os.fsdecode(file)
    return str(getattr(file, "name", f"the {type(file).__name__}"))


def _decode(stream: BinaryIO, name: str) -> Image.Image:
    with _readable(name):
        image = Image.open(stream)
    with image:
        if not 0 < image.width * image.height <= MAX_PIXELS:
            _refuse_size(name, f"{image.width} × {image.height}")
        with _readable(name):
            image.load()
            turn = _turn(image)
        grey = _grey(name, image) if image.mode.startswith(("I", "F")) else image
        with _readable(name):
            rgb = _over_white(grey) if grey.has_transparency_data else grey.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever Pillow raises becomes one ValueError that names the file."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _refuse_size(name, str(error))
    except Exception as error:  # decoders of damaged data raise nearly every type there is
        invariant = f"{name} must be a complete image file that Pillow can read"
        remedy = "The file is damaged or not an image; fetch or export it again."
        received = f"{type(error).__name__}: {error}"
        raise ValueError(message("read_image", invariant, received, remedy)) from error


def _refuse_size(name: str, received: str) -> NoReturn:
    invariant = f"{name} must have between 1 and {MAX_PIXELS:,} pixels"
    refuse(ValueError, "read_image", invariant, received, "Scale it down first.")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Read after the pixels: some formats keep EXIF behind them, and Pillow itself turns TIFF."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that cannot be read says nothing about the pixels
        return None


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _grey(name: str, image: Image.Image) -> Image.Image:
    """One wide channel brought to 8 bits; Pillow's own conversion would clip it."""
    values = np.asarray(image)
    low, high = values.min(), values.max()  # NaN if any value is
    most, scale = (255, "[0, 255]") if image.mode == "F" else (65535, "[0, 65535]")
    if not (low >= 0 and high <= most):
        remedy = "Export it with 8 or 16 bits to a channel."
        invariant = f"{name} has the mode {image.mode}, whose values must lie in {scale}"
        refuse(ValueError, "read_image", invariant, f"values from {low} to {high}", remedy)
    if image.mode == "F":
        grey = np.rint(values * 255 if high <= 1 else values)
    else:
        grey = (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(grey.astype(np.uint8))
