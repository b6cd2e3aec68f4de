"""The bilinear CNN as a Flax NNX module."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax._arrays import ArrayLike, spec
from ...contract import check_images, refuse
from ...data.images import Preprocessing
from .. import plans
from ..arguments import (
    Channels,
    Taps,
    check_arguments,
    least_size,
    resolve_streams,
    several,
    starting_tensors,
)
from ..chosen import check_descriptors, check_learned, descriptor_size
from ..weights import weights_preprocessing
from .backbone import Backbone, Linear
from .pool import chosen_pool, learned, maker


class BCNN(nnx.Module):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a module of your own from images to feature maps.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a layer of this package, or the name of one or of a preset, made for the maps with
            its defaults; or a module with a ``descriptor_size``. None is ``"BilinearPool"``. One
            that has ``num_classes`` gives the logits: no linear classifier follows it.
        projection: channels that the maps of each stream are projected to before they are
            pooled, by learned 1×1 convolutions without bias; None projects nothing.
        taps: maps of a named backbone to pool together instead of its last one, such as
            ``("relu5_1", "relu5_2", "relu5_3")`` or ``("layer3", "layer4")``.
        weights: ``"imagenet"``, the path of a ``.safetensors`` file or of an ``.h5`` file of
            Keras' VGG16, or a pair of those for two streams; None starts from `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams, a tuple for a
            backbone that returns several maps.
        seed: of the initial weights, equal in every framework; None leaves them zero.
        dtype: of the parameters, by name. A module of your own keeps its dtype.

    Shapes: images (N, H, W, 3), already normalised -> logits (N, num_classes). Maps of several
        sizes are resampled bilinearly to the smallest, axis by axis.
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
        projection: int | None = None,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: str = "float32",
    ) -> None:
        check_arguments(num_classes, dtype, seed)
        check_enabled("BCNN", dtype)
        self.streams = resolve_streams(
            backbone,
            backbone_b,
            channels=channels,
            taps=taps,
            projection=projection,
            kind=nnx.Module,
            word="flax.nnx.Module",
        )
        self.num_classes = num_classes
        self.preprocessing: Preprocessing | None = weights_preprocessing(
            weights, *self.streams.names
        )
        self.classes: tuple[str, ...] | None = None
        self.pool = chosen_pool(pool, self.streams, num_classes, seed, dtype)
        size = descriptor_size(self.pool, self.streams, num_classes)
        check_learned(self.pool, learned(self.pool), dtype)
        tensors = starting_tensors(
            self.streams, num_classes, size, weights=weights, seed=seed, dtype=dtype
        )
        self.backbone = _stream(backbone, dtype, self.streams.taps)
        self.backbone_b = None if backbone_b is None else _stream(backbone_b, dtype)
        make, shapes = maker(dtype), self.streams.projections
        projections = [make("Projection", channels=c, dim=dim) for dim, c in shapes]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.classifier = None if size is None else Linear(size, num_classes, dtype)
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
        first = several(self.backbone(images), self.streams)
        return first if self.backbone_b is None else (*first, self.backbone_b(images))

    def descriptors(self, images: ArrayLike) -> jax.Array:
        """What the classifier sees: the pooled maps, (N, D)."""
        check_descriptors(self.pool)
        return self.pool(*self.pooled_maps(images))

    def pooled_maps(self, images: ArrayLike) -> tuple[jax.Array, ...]:
        """The maps as the pool takes them, (N, h, w, C): projected, and of one size."""
        return self.prepared(self.feature_maps(images))

    def prepared(self, maps: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
        """Feature maps as the pool takes them: projected, and of one size."""
        projections = [p for p in (self.projection, self.projection_b) if p is not None]
        if projections:
            maps = [project(x) for project, x in zip(projections, maps, strict=True)]
        return _matched(*maps)

    def logits(self, *maps: jax.Array) -> jax.Array:
        """What the model says of feature maps, such as `feature_maps` gives."""
        pooled = self.pool(*self.prepared(maps))
        return pooled if self.classifier is None else self.classifier(pooled)

    def __call__(self, images: ArrayLike) -> jax.Array:
        return self.logits(*self.feature_maps(images))

    def canonical(self) -> dict[str, nnx.Variable]:
        """Canonical name -> parameter or running statistic, in the order of the portable file."""
        parts = {"backbone.": self.backbone, "backbone_b.": self.backbone_b}
        parts |= {"projection.": self.projection, "projection_b.": self.projection_b}
        parts |= {"pool.": self.pool, "classifier.": self.classifier}
        return {
            prefix + name: variable
            for prefix, part in parts.items()
            if isinstance(part, nnx.Module)
            for name, variable in _variables(part).items()
        }

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


def _stream(backbone: str | nnx.Module, dtype: str, taps: tuple[str, ...] | None = None) -> Any:
    return Backbone(backbone, dtype, taps) if isinstance(backbone, str) else backbone


def _variables(part: nnx.Module) -> dict[str, nnx.Variable]:
    """Canonical name (no prefix) -> variable; of a pool and the user's own module, by its path.

    The state of random generators and intermediate values are no part of a model.
    """
    if isinstance(part, Backbone):
        return part.canonical()
    if isinstance(part, Linear):
        return {"weight": part.kernel, "bias": part.bias}
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(part)
        if isinstance(node, nnx.Variable) and not isinstance(node, (nnx.RngState, nnx.Intermediate))
    }


def _matched(*maps: jax.Array) -> tuple[jax.Array, ...]:
    """All maps at the smallest extent of each axis: half-pixel centres, no antialiasing."""
    if len(maps) == 1:
        return maps
    size = [min(sizes) for sizes in zip(*(x.shape[1:-1] for x in maps), strict=True)]
    return tuple(
        jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "linear", antialias=False)
        for x in maps
    )
