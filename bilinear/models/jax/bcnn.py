"""The bilinear CNN as a Flax NNX module."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.class_signature import ClassSignature
from ...backends.jax._arrays import ArrayLike
from ...backends.jax.layers._layer import draw_seed
from ..construction import resolve_parts
from ..hub import Hub
from ..network import Network
from ..pools import check_learned, remake_pool
from ..portable import Files
from ..streams import AUTO, Channels, Projected, StreamArguments, Streams, Taps, as_maps
from . import framework
from .backbone import Backbone, Linear


class BCNN(nnx.Module, Network[jax.Array]):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: name of a torchvision network: ``"vgg16"``, ``"vgg19"``, ``"vgg16_bn"`` or
            ``"vgg19_bn"`` (up to the last ReLU, 1/16 of the image's size), ``"resnet18"``,
            ``"resnet34"``, ``"resnet50"`` or ``"resnet101"`` (up to layer4, 1/32), or
            ``"inception_v3"`` (up to Mixed_7c, about 1/32); or a `flax.nnx.Module` that
            maps images to feature maps.
        num_classes: number of classes, at least 1: the length of the logits.
        backbone_b: backbone of a second stream on the same image; None for one stream.
        pool: a pooling layer; the name of a layer or preset, which is made for the model; or a
            dictionary with its ``"name"`` and arguments, such as
            ``{"name": "CompactBilinearPool", "dim": 1024}``. A custom pool needs a
            ``descriptor_size`` method; one with a ``num_classes`` attribute computes the logits
            without a linear classifier. None is ``"BilinearPool"``.
        projection: number of channels, at least 1, to which a learned 1×1 convolution without bias
            projects the feature maps of each stream before pooling; None for no projection. The
            default ``"auto"`` is 256, with a warning, where a descriptor of a pool of this package
            would have more than 2¹⁹ values, as that of 2048 channels; otherwise None.
        taps: names of the feature maps of a named backbone that the pool receives instead of its
            last one, such as ``("relu5_1", "relu5_2", "relu5_3")`` or ``("layer3", "layer4")``.
        weights: initial weights of the named backbones: ``"imagenet"``, the path of a
            ``.safetensors`` file or of an ``.h5`` file of Keras' VGG16, or a pair of these for two
            streams. A portable file, written by `save`, gives its backbones, projection and pool;
            `backbone_b`, `pool`, `projection` and `taps` must be None or equal to the file's. The
            classifier is new. None draws all weights from `seed`.
        channels: number of channels of the feature maps of a custom backbone; a pair for two
            streams, a tuple for a backbone that returns several maps. None for named backbones.
        in_channels: number of channels of the images; None is 3, or that of a portable file.
            `weights` for color images are adapted: one channel takes the sum of the kernels of
            red, green and blue, and more channels take these in turn, times 3 / `in_channels`.
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        rngs: random streams of Flax; ``rngs.params()`` then gives the seed. Default None.
        dtype: of the parameters: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
            Custom modules keep theirs.

    Shape: images (N, H, W, C) of `in_channels`, already normalized -> logits (N, num_classes).
        Feature maps of several sizes are resampled bilinearly to the smallest, axis by axis.
    Attributes: `preprocessing` of the images and `classes`, the class names; None if unknown.
    Precision: the networks follow JAX's precision setting, TensorFloat-32 by default on a GPU;
        ``jax.default_matmul_precision("highest")`` computes them in float32.
    Raises: ValueError or TypeError for inconsistent arguments, before any layer is built; for
        `weights`, the errors of `load`.
    Example:
        >>> model = BCNN("resnet18", 50, weights="imagenet", projection=64)  # doctest: +SKIP
        >>> model(jnp.zeros((2, 448, 448, 3))).shape  # doctest: +SKIP
        (2, 50)

    References: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    _framework = framework
    __signature__ = ClassSignature()

    def __init__(
        self,
        backbone: str | nnx.Module,
        num_classes: int,
        *,
        backbone_b: str | nnx.Module | None = None,
        pool: Any = None,
        projection: Projected = AUTO,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        in_channels: int | None = None,
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
        dtype: str = "float32",
    ) -> None:
        seed = draw_seed("BCNN", seed, rngs)
        make = partial(framework.layer, dtype=dtype)
        given = StreamArguments(backbone, backbone_b, channels, taps, projection, in_channels)
        parts = resolve_parts(framework, make, given, num_classes, pool, weights, seed, dtype)
        learned = {
            ".".join(map(str, path)): node[...].dtype.name
            for path, node in nnx.iter_graph(parts.pool)
            if isinstance(node, nnx.Param)
        }
        check_learned(parts.pool, learned, dtype)
        self._set_attributes(parts, num_classes)
        self.pool = parts.pool
        self.backbone = _stream(parts.given.backbone, dtype, self.streams)
        self.backbone_b = _stream(parts.given.backbone_b, dtype, self.streams)
        shapes = self.streams.projections
        projections = [make("Projection", channels=c, dim=dim) for dim, c in shapes]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.classifier = self._linear(num_classes, dtype)
        self.assign(parts.tensors(self.specs))

    def feature_maps(self, images: ArrayLike) -> tuple[jax.Array, ...]:
        """Return the feature maps of each stream, (N, h, w, C), the output of its backbone."""
        self.streams.check_images(framework.input_spec("images", images), channels_first=False)
        images = jnp.asarray(images)
        first = as_maps(self.backbone(images))
        return first if self.backbone_b is None else (*first, self.backbone_b(images))

    def __call__(self, images: ArrayLike) -> jax.Array:
        return self.logits(*self.feature_maps(images))

    def _linear(self, num_classes: int, dtype: str) -> Linear | None:
        return None if self._size is None else Linear(self._size, num_classes, dtype)

    def _replace_last(self, num_classes: int, seed: int | None) -> str:
        last: Any = self.pool if self.classifier is None else self.classifier
        dtype = jax.tree.leaves(nnx.state(last, nnx.Param))[0].dtype.name
        make = partial(framework.layer, dtype=dtype)
        self.pool = remake_pool(self.pool, make, num_classes, seed)
        self.classifier = self._linear(num_classes, dtype)
        return dtype

    def canonical(self) -> dict[str, nnx.Variable]:
        """Return parameters and statistics by canonical name, in the order of the portable file.

        The momentum that `save` takes has these names. The trace of `optax.sgd` is a state like
        that of the parameters, so merged with the rest of the model it has them too::

            graphdef, _, rest = nnx.split(model, nnx.Param, ...)
            named = nnx.merge(graphdef, trace, rest).canonical()
            momentum = {k: v for k, v in named.items() if not isinstance(v, nnx.BatchStat)}

        Likewise ``named[key][...] = buffer`` sets a buffer that `load` returned.
        """
        return {
            f"{prefix}.{name}": variable
            for prefix, part in self._parts.items()
            if isinstance(part, nnx.Module)
            for name, variable in _variables(part).items()
        }

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        for name, array in tensors.items():
            own[name][...] = jnp.array(self.to_own(name, array), own[name][...].dtype)


def _stream(backbone: Any, dtype: str, streams: Streams) -> Any:
    if not isinstance(backbone, str):
        return backbone
    return Backbone(backbone, dtype, streams.taps, streams.in_channels)


def _variables(part: nnx.Module) -> dict[str, nnx.Variable]:
    """Canonical name -> variable, without random generators; custom modules by their path."""
    if isinstance(part, Backbone):
        return part.canonical()
    if framework.is_linear(part):
        linear: Any = part
        bias = {} if linear.bias is None else {"bias": linear.bias}
        return {"weight": linear.kernel} | bias
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(part)
        if isinstance(node, nnx.Variable) and not isinstance(node, (nnx.RngState, nnx.Intermediate))
    }


_FILES = Files[BCNN, jax.Array](BCNN, framework)
_HUB = Hub[BCNN, jax.Array](_FILES)

save = _FILES.save
load = _FILES.load
load_image = _FILES.load_image
import_checkpoint = _FILES.import_checkpoint
push_to_hub = _HUB.push_to_hub
from_pretrained = _HUB.from_pretrained
