"""The bilinear CNN as a Flax NNX module."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax._arrays import ArrayLike, spec
from ...backends.jax.layers import BilinearPool
from ...contract import check_images, refuse
from ...images import Preprocessing
from .. import plans
from ..arguments import Channels, check_arguments, least_size, resolve_streams, starting_tensors
from .backbone import Backbone, Linear


class BCNN(nnx.Module):
    """Bilinear CNN: one or two feature extractors, `BilinearPool`, a linear classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a module of your own from images to feature maps.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a `BilinearPool`, or a module with its ``descriptor_size``; None is the default one.
        weights: ``"imagenet"``, the path of a ``.safetensors`` file, or a pair of those for two
            streams; None starts from `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams.
        seed: of the initial weights, equal in every framework; None leaves them zero.
        dtype: of the parameters, by name. A module of your own keeps its dtype.

    Shapes: images (N, H, W, 3), already normalised -> logits (N, num_classes). Streams of two
        sizes are resampled bilinearly to the smaller one, axis by axis.
    Attributes: `preprocessing` and `classes` are what the images and logits mean, or None.
    Precision: float32 is computed in float32 on a GPU too, never in TensorFloat-32.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    def __init__(
        self,
        backbone: str | nnx.Module,
        num_classes: int,
        *,
        backbone_b: str | nnx.Module | None = None,
        pool: Any = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: str = "float32",
    ) -> None:
        check_arguments(num_classes, dtype)
        check_enabled("BCNN", dtype)
        self.streams = resolve_streams(
            backbone, backbone_b, channels, nnx.Module, "flax.nnx.Module"
        )
        self.preprocessing: Preprocessing | None = None if weights is None else Preprocessing()
        self.classes: tuple[str, ...] | None = None
        self.pool = BilinearPool() if pool is None else pool
        size = self.pool.descriptor_size(*self.streams.channels)
        tensors = starting_tensors(
            self.streams, num_classes, size, weights=weights, seed=seed, dtype=dtype
        )
        self.backbone = _stream(backbone, dtype)
        self.backbone_b = None if backbone_b is None else _stream(backbone_b, dtype)
        self.classifier = Linear(size, num_classes, dtype)
        self.assign(tensors)

    def feature_maps(self, images: ArrayLike) -> tuple[jax.Array, ...]:
        """The maps of each stream, (N, h, w, C), as its backbone gives them."""
        named = any(self.streams.names)
        check_images(
            spec("BCNN", "images", images),
            channels_first=False,
            channels=3 if named else None,
            least=least_size(self.streams),
        )
        images = jnp.asarray(images)
        first = self.backbone(images)
        return (first,) if self.backbone_b is None else (first, self.backbone_b(images))

    def descriptors(self, images: ArrayLike) -> jax.Array:
        """What the classifier sees: the pooled maps, (N, C·D)."""
        return self.pool(*_matched(*self.feature_maps(images)))

    def __call__(self, images: ArrayLike) -> jax.Array:
        return self.classifier(self.descriptors(images))

    def canonical(self) -> dict[str, nnx.Variable]:
        """Canonical name -> parameter or running statistic, in the order of the portable file."""
        streams = {"backbone.": self.backbone, "backbone_b.": self.backbone_b}
        variables = {
            prefix + name: variable
            for prefix, stream in streams.items()
            if stream is not None
            for name, variable in _variables(stream).items()
        }
        variables["classifier.weight"] = self.classifier.kernel
        variables["classifier.bias"] = self.classifier.bias
        return variables

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        for name, array in tensors.items():
            own[name][...] = jnp.array(self.to_own(name, array), own[name][...].dtype)

    def to_own(self, name: str, array: np.ndarray) -> np.ndarray:
        """A tensor of a canonical name (or its gradient), from canonical layout to Flax's."""
        return plans.channels_last(array) if self._is_ours(name) else array

    def to_canonical(self, name: str, array: ArrayLike) -> np.ndarray:
        """The inverse of `to_own`. Modules of your own keep their layout in both."""
        array = np.asarray(array)
        return plans.channels_first(array) if self._is_ours(name) else array

    def _is_ours(self, name: str) -> bool:
        """Whether a canonical name speaks of a layer of ours, whose canonical layout is torch's."""
        part = getattr(self, name.partition(".")[0], None)
        return isinstance(part, (Backbone, Linear))


def check_enabled(op: str, dtype: str) -> None:
    """ValueError where JAX would silently make the dtype narrower."""
    if jax.dtypes.canonicalize_dtype(plans.DTYPES[dtype]) != plans.DTYPES[dtype]:
        remedy = "Call jax.config.update('jax_enable_x64', True) before anything else of JAX."
        received = f"{dtype} and jax_enable_x64=False"
        refuse(ValueError, op, "float64 needs JAX's 64-bit mode", received, remedy)


def _stream(backbone: str | nnx.Module, dtype: str) -> Any:
    return Backbone(backbone, dtype) if isinstance(backbone, str) else backbone


def _variables(stream: nnx.Module) -> dict[str, nnx.Variable]:
    """Canonical name (no prefix) -> variable; for the user's own module, by its path.

    The state of random generators and intermediate values are no part of a model.
    """
    if isinstance(stream, Backbone):
        return stream.canonical()
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(stream)
        if isinstance(node, nnx.Variable) and not isinstance(node, (nnx.RngState, nnx.Intermediate))
    }


def _matched(first: jax.Array, second: jax.Array | None = None) -> tuple[jax.Array, ...]:
    """Both maps at the smaller extent of each axis: half-pixel centres, no antialiasing."""
    if second is None:
        return (first,)
    size = [min(a, b) for a, b in zip(first.shape[1:-1], second.shape[1:-1], strict=True)]
    return tuple(
        jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "linear", antialias=False)
        for x in (first, second)
    )
