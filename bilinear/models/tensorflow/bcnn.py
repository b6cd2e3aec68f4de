"""The bilinear CNN as a Keras model."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ...backends.tensorflow._tensors import required, sizes, spec, wide
from ...backends.tensorflow.layers import BilinearPool
from ...contract import check_images, refuse
from ...images import Preprocessing
from .. import plans
from ..arguments import (
    Channels,
    check_arguments,
    least_size,
    resolve_streams,
    starting_tensors,
)
from .backbone import Backbone


@keras.saving.register_keras_serializable(package="bilinear")
class BCNN(keras.Model):
    """Bilinear CNN: one or two feature extractors, `BilinearPool`, a linear classifier.

    Args:
        backbone: ``"vgg16"`` (cut after relu5_3, 1/16 of the image), ``"resnet18"`` (cut after
            layer4, 1/32), or a Keras layer or model of your own from images to feature maps,
            channels last. One that is not built yet is built for colour images.
        num_classes: length of the logits.
        backbone_b: a second stream on the same image; None shares one stream.
        pool: a `BilinearPool`, or a layer with its ``descriptor_size``; None is the default one.
        weights: ``"imagenet"``, the path of a ``.safetensors`` file, or a pair of those for two
            streams; None starts from `seed`.
        channels: channels of the maps of your own backbone; a pair for two streams.
        seed: of the initial weights, equal in every framework; None leaves them unset.
        dtype: of the parameters, by name, or a Keras policy such as ``"mixed_bfloat16"``; None is
            Keras' global policy. Layers of your own, a pool too, keep their dtype.

    Shapes: images (N, H, W, 3), already normalised, whatever Keras' image data format -> logits
        (N, num_classes). Streams of two sizes are resampled bilinearly to the smaller one, axis
        by axis.
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
        pool: keras.layers.Layer | None = None,
        weights: Any = None,
        channels: Channels = None,
        seed: int | None = 0,
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        dtype = keras.dtype_policies.get(dtype) if _is_policy(dtype) else dtype
        check_arguments(num_classes, getattr(dtype, "variable_dtype", dtype))
        super().__init__(dtype=dtype, **kwargs)
        kind = keras.layers.Layer
        self.streams = resolve_streams(backbone, backbone_b, channels, kind, "keras.layers.Layer")
        self.preprocessing: Preprocessing | None = None if weights is None else Preprocessing()
        self.classes: tuple[str, ...] | None = None
        self.pool: Any = self._pool(pool)
        tensors = starting_tensors(
            self.streams,
            num_classes,
            self._descriptor_size,
            weights=weights,
            seed=seed,
            dtype=self.variable_dtype,
        )
        self.backbone: Any = self._stream("backbone", backbone)
        self.backbone_b: Any = self._stream("backbone_b", backbone_b)
        self.classifier: Any = keras.layers.Dense(
            num_classes, kernel_initializer="zeros", dtype=self.dtype_policy, name="classifier"
        )
        self.build((None, None, None, 3))
        self.assign(tensors)

    def _pool(self, pool: Any) -> Any:
        if pool is None:
            return BilinearPool(data_format="channels_last", dtype=self.dtype_policy, name="pool")
        if getattr(pool, "data_format", "channels_last") != "channels_last":
            remedy = "BCNN computes channels last whatever Keras' image data format is."
            invariant = "pool must have data_format='channels_last'"
            refuse(ValueError, "BCNN", invariant, repr(pool.data_format), remedy)
        return pool

    def _stream(self, name: str, backbone: Any) -> Any:
        if not isinstance(backbone, str):
            return backbone
        return Backbone(backbone, dtype=self.dtype_policy, name=name)

    @property
    def _descriptor_size(self) -> int:
        return self.pool.descriptor_size(*self.streams.channels)

    @property
    def _streams(self) -> dict[str, Any]:
        """Attribute name -> layer, for one stream or two."""
        streams = {"backbone": self.backbone, "backbone_b": self.backbone_b}
        return {name: stream for name, stream in streams.items() if stream is not None}

    @property
    def _known(self) -> dict[str, str | None]:
        """Attribute name -> name of the backbone, None for one of the user's own."""
        return dict(zip(("backbone", "backbone_b"), self.streams.names, strict=True))

    def build(self, images_shape: Any) -> None:
        """Make every variable, so that a model can be saved and filled before its first call."""
        for stream in self._streams.values():
            if stream.built and stream.weights:
                continue
            if isinstance(stream, Backbone):
                stream.build(images_shape)
            else:
                stream(keras.Input(images_shape[1:], dtype=stream.compute_dtype))
        if not self.classifier.built:
            self.classifier.build((None, self._descriptor_size))

    def feature_maps(self, images: Any, training: bool | None = None) -> tuple[tf.Tensor, ...]:
        """The maps of each stream, (N, h, w, C), as its backbone gives them."""
        images = required("BCNN", "images", images)
        named = any(self.streams.names)
        check_images(
            spec(images),
            channels_first=False,
            channels=3 if named else None,
            least=least_size(self.streams),
        )
        return tuple(stream(images, training=training) for stream in self._streams.values())

    def descriptors(self, images: Any, training: bool | None = None) -> tf.Tensor:
        """What the classifier sees: the pooled maps, (N, C·D)."""
        return self.pool(*_matched(*self.feature_maps(images, training)))

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.classifier(self.descriptors(images, training))

    def canonical(self) -> dict[str, keras.Variable]:
        """Canonical name -> parameter or running statistic, in the order of the portable file."""
        variables = {
            f"{prefix}.{name}": variable
            for prefix, stream in self._streams.items()
            for name, variable in _variables(stream).items()
        }
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
            "num_classes": self.classifier.units,
            "pool": _serialize(self.pool),
            "channels": list(self.streams.channels),
            "classes": self.classes and list(self.classes),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
            "frozen": [name for name, layer in self._layers_by_name() if not layer.trainable],
        }
        return super().get_config() | streams | own

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BCNN":
        config = dict(config)
        classes, preprocessing, frozen, _ = (
            config.pop(key) for key in ("classes", "preprocessing", "frozen", "trainable")
        )
        for key in ("backbone", "backbone_b", "pool"):
            if isinstance(config.get(key), dict):
                config[key] = _deserialize(config[key], custom_objects=custom_objects)
        model = cls(**config | {"channels": tuple(config["channels"]), "seed": None})
        model.classes = classes and tuple(classes)
        model.preprocessing = preprocessing and Preprocessing.from_dict(preprocessing)
        for name, layer in model._layers_by_name():
            if name in frozen:
                layer.trainable = False
        return model

    def _layers_by_name(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """What can be frozen on its own, from the model down; layers of your own know theirs."""
        yield "", self
        yield "classifier", self.classifier
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


def _matched(first: tf.Tensor, second: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
    """Both maps at the smaller extent of each axis: half-pixel centres, no antialiasing."""
    if second is None:
        return (first,)
    for axis in (1, 2):
        a, b = sizes(first)[axis], sizes(second)[axis]
        if isinstance(a, int) and isinstance(b, int):
            first, second = (
                x if size == min(a, b) else _shrunk(x, axis, size, min(a, b))
                for x, size in ((first, a), (second, b))
            )
        else:
            size = tf.minimum(a, b)
            first, second = _shrunk(first, axis, a, size), _shrunk(second, axis, b, size)
    return first, second


def _shrunk(x: tf.Tensor, axis: int, old: Any, new: Any) -> tf.Tensor:
    """`x` with `new` places instead of `old`, at most as many, along an axis of the image.

    Place i lies at ``(i + ½) · old / new − ½``, between two neighbours; `tf.image.resize` would
    give float32 whatever the dtype.
    """
    doubled = (2 * tf.range(new) + 1) * old - new  # 2 · new times the place, exactly
    low = doubled // (2 * new)
    high = tf.minimum(low + 1, old - 1)
    values = wide(x)
    weight = tf.cast(doubled % (2 * new), values.dtype) / tf.cast(2 * new, values.dtype)
    weight = tf.reshape(weight, [-1, 1] if axis == 2 else [-1, 1, 1])
    mixed = (1 - weight) * tf.gather(values, low, axis=axis)
    return tf.cast(mixed + weight * tf.gather(values, high, axis=axis), x.dtype)
