"""The bilinear CNN as a Keras model."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ...backends.tensorflow._tensors import required, spec
from ...contract import check_images
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
from .backbone import Backbone
from .pool import chosen_pool, maker, pool_variables
from .resampling import matched


@keras.saving.register_keras_serializable(package="bilinear")
class BCNN(keras.Model):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a Keras layer or model of your own from images to feature maps,
            channels last. One that is not built yet is built for colour images.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a layer of this package, channels last, or the name of one or of a preset, made for
            the maps with its defaults; or a layer of yours with a ``descriptor_size``. None is
            ``"BilinearPool"``. One that has ``num_classes`` gives the logits itself.
        projection: channels that the maps of each stream are projected to before they are
            pooled, by learned 1×1 convolutions without bias; None projects nothing.
        taps: maps of a named backbone to pool together instead of its last one, such as
            ``("relu5_1", "relu5_2", "relu5_3")`` or ``("layer3", "layer4")``.
        weights: ``"imagenet"``, the path of a ``.safetensors`` file or of an ``.h5`` file of
            Keras' VGG16, or a pair of those for two streams; None starts from `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams, a tuple for a
            backbone that returns several maps.
        seed: of the initial weights, equal in every framework; None leaves them unset.
        dtype: of the parameters, by name, or a Keras policy such as ``"mixed_bfloat16"``; None is
            Keras' global policy. Layers of your own, a pool too, keep their dtype.

    Shapes: images (N, H, W, 3), already normalised, whatever Keras' image data format -> logits
        (N, num_classes). Maps of several sizes are resampled bilinearly to the smallest, axis by
        axis.
    Attributes: `preprocessing` and `classes` are what the images and logits mean, or None.
    Precision: on GPUs TensorFlow computes float32 in TF32 unless
        `tf.config.experimental.enable_tensor_float_32_execution(False)` was called.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    def __init__(
        self,
        backbone: str | keras.layers.Layer,
        num_classes: int,
        *,
        backbone_b: str | keras.layers.Layer | None = None,
        pool: str | keras.layers.Layer | None = None,
        projection: int | None = None,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        dtype = keras.dtype_policies.get(dtype) if _is_policy(dtype) else dtype
        check_arguments(num_classes, getattr(dtype, "variable_dtype", dtype), seed)
        super().__init__(dtype=dtype, **kwargs)
        self.streams = resolve_streams(
            backbone,
            backbone_b,
            channels=channels,
            taps=taps,
            projection=projection,
            kind=keras.layers.Layer,
            word="keras.layers.Layer",
        )
        self.num_classes = num_classes
        self.preprocessing: Preprocessing | None = weights_preprocessing(
            weights, *self.streams.names
        )
        self.classes: tuple[str, ...] | None = None
        policy = self.dtype_policy
        self.pool: Any = chosen_pool(pool, self.streams, num_classes, seed, policy)
        self._size = descriptor_size(self.pool, self.streams, num_classes)
        tensors = starting_tensors(
            self.streams,
            num_classes,
            self._size,
            weights=weights,
            seed=seed,
            dtype=self.variable_dtype,
        )
        self.backbone: Any = self._stream("backbone", backbone)
        self.backbone_b: Any = self._stream("backbone_b", backbone_b)
        named = zip(("projection", "projection_b"), self.streams.projections, strict=False)
        projections = [
            maker(policy, name)("Projection", channels=c, dim=dim) for name, (dim, c) in named
        ]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.classifier: Any = None
        if self._size is not None:
            self.classifier = keras.layers.Dense(
                num_classes, kernel_initializer="zeros", dtype=policy, name="classifier"
            )
        self.build((None, None, None, 3))
        learned = {name: v.dtype for name, v in pool_variables(self.pool).items() if v.trainable}
        check_learned(self.pool, learned, self.variable_dtype)
        self.assign(tensors)

    def _stream(self, name: str, backbone: Any) -> Any:
        if not isinstance(backbone, str):
            return backbone
        taps = self.streams.taps if name == "backbone" else None
        return Backbone(backbone, taps, dtype=self.dtype_policy, name=name)

    @property
    def _heads(self) -> dict[str, Any]:
        """Attribute name -> layer, of those of the model's own that it has."""
        names = ("projection", "projection_b", "classifier")
        heads = {name: getattr(self, name) for name in names}
        return {name: head for name, head in heads.items() if head is not None}

    @property
    def _streams(self) -> dict[str, Any]:
        """Attribute name -> layer, for one stream or two."""
        streams = {"backbone": self.backbone, "backbone_b": self.backbone_b}
        return {name: stream for name, stream in streams.items() if stream is not None}

    @property
    def _known(self) -> dict[str, str | None]:
        """Attribute name -> name of the backbone, None for one of the user's own."""
        return dict(zip(("backbone", "backbone_b"), self.streams.pair, strict=True))

    def build(self, images_shape: Any) -> None:
        """Make every variable, so that a model can be saved and filled before its first call."""
        for stream in self._streams.values():
            if stream.built and stream.weights:
                continue
            if isinstance(stream, Backbone):
                stream.build(images_shape)
            else:
                stream(keras.Input(images_shape[1:], dtype=stream.compute_dtype))
        if not self.pool.built:
            like = {"dtype": self.pool.compute_dtype}
            self.pool(*(keras.Input((None, None, c), **like) for c in self.streams.pooled))
        if self.classifier is not None and not self.classifier.built:
            self.classifier.build((None, self._size))

    def feature_maps(self, images: Any, training: bool | None = None) -> tuple[tf.Tensor, ...]:
        """The maps of each stream, (N, h, w, C), as its backbone gives them."""
        images = required("BCNN", "images", images)
        channels, least = 3 if any(self.streams.names) else None, least_size(self.streams)
        check_images(spec(images), channels_first=False, channels=channels, least=least)
        first, *second = (stream(images, training=training) for stream in self._streams.values())
        return *several(first, self.streams), *second

    def descriptors(self, images: Any, training: bool | None = None) -> tf.Tensor:
        """What the classifier sees: the pooled maps, (N, D)."""
        check_descriptors(self.pool)
        return self.pool(*self.pooled_maps(images, training))

    def pooled_maps(self, images: Any, training: bool | None = None) -> tuple[tf.Tensor, ...]:
        """The maps as the pool takes them, (N, h, w, C): projected, and of one size."""
        return self.prepared(self.feature_maps(images, training))

    def prepared(self, maps: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Feature maps as the pool takes them: projected, and of one size."""
        projections = [p for p in (self.projection, self.projection_b) if p is not None]
        pairs = zip(projections, maps, strict=True) if projections else ()
        return matched(*([project(x) for project, x in pairs] or maps))

    def logits(self, *maps: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """What the model says of feature maps, such as `feature_maps` gives."""
        pooled = self.pool(*self.prepared(maps), training=training)
        return pooled if self.classifier is None else self.classifier(pooled)

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.logits(*self.feature_maps(images, training), training=training)

    def canonical(self) -> dict[str, keras.Variable]:
        """Canonical name -> parameter or running statistic, in the order of the portable file."""
        variables = {
            f"{prefix}.{name}": variable
            for prefix, stream in self._streams.items()
            for name, variable in _variables(stream).items()
        }
        for prefix in ("projection", "projection_b"):
            if prefix in self._heads:
                variables[f"{prefix}.weight"] = self._heads[prefix].weight
        variables |= {f"pool.{name}": v for name, v in pool_variables(self.pool).items()}
        if self.classifier is not None:
            variables["classifier.weight"] = self.classifier.kernel
            variables["classifier.bias"] = self.classifier.bias
        return variables

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        for name, array in tensors.items():
            own[name].assign(self.to_own(name, array))

    def to_own(self, name: str, array: np.ndarray) -> np.ndarray:
        """A tensor of a canonical name (or its gradient), from canonical layout to Keras'."""
        return plans.channels_last(array) if self._is_ours(name) else array

    def to_canonical(self, name: str, array: Any) -> np.ndarray:
        """The inverse of `to_own`. Layers of your own keep their layout in both."""
        array = np.asarray(array.numpy() if hasattr(array, "numpy") else array)
        return plans.channels_first(array) if self._is_ours(name) else array

    def _is_ours(self, name: str) -> bool:
        """Whether a canonical name speaks of a layer whose canonical layout is torch's."""
        prefix = name.partition(".")[0]
        return prefix == "classifier" or self._known.get(prefix) is not None

    def get_config(self) -> dict[str, Any]:
        """Without the weights: a model made from it is empty until Keras fills it."""
        streams = {
            name: self._known[name] or _serialize(stream) for name, stream in self._streams.items()
        }
        own = {
            "num_classes": self.num_classes,
            "pool": _serialize(self.pool),
            "projection": self.streams.projection,
            "taps": self.streams.taps and list(self.streams.taps),
            "channels": list(self.streams.channels),
            "classes": self.classes and list(self.classes),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
            "frozen": [name for name, layer in self._layers_by_name() if not layer.trainable],
        }
        return super().get_config() | streams | own

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BCNN":
        config = config | {"seed": None}
        classes, preprocessing, frozen, _ = (
            config.pop(key) for key in ("classes", "preprocessing", "frozen", "trainable")
        )
        for key in ("backbone", "backbone_b", "pool"):
            if isinstance(config.get(key), dict):
                config[key] = _deserialize(config[key], custom_objects=custom_objects)
        model = cls(**config)
        model.classes = classes and tuple(classes)
        model.preprocessing = preprocessing and Preprocessing.from_dict(preprocessing)
        for name, layer in model._layers_by_name():
            if name in frozen:
                layer.trainable = False
        return model

    def _layers_by_name(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """What can be frozen on its own, from the model down; layers of your own know theirs."""
        yield "", self
        yield "pool", self.pool
        yield from self._heads.items()
        for name, stream in self._streams.items():
            yield name, stream
            if isinstance(stream, Backbone):
                yield from ((f"{name}.{part}", layer) for part, layer in stream.parts.items())


_serialize = keras.saving.serialize_keras_object
_deserialize = keras.saving.deserialize_keras_object


def _is_policy(dtype: object) -> bool:
    """Whether `dtype` is for Keras to understand, rather than one of the contract's names."""
    mixed = isinstance(dtype, str) and dtype.startswith("mixed_")
    return dtype is None or mixed or isinstance(dtype, dict | keras.DTypePolicy)


def _variables(stream: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Canonical name (no prefix) -> variable.

    In the user's own layers a variable is named by its place: Keras numbers the names of layers
    through the whole process, so those of two equal networks differ.
    """
    if isinstance(stream, Backbone):
        return stream.canonical()
    return {
        f"{place}.{re.sub(r'_[0-9]+$', '', variable.name)}": variable
        for place, variable in enumerate(stream.weights)
    }
