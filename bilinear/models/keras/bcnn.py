"""The bilinear CNN as a Keras model."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from ...backends.class_signature import ClassSignature
from ...data.images import Preprocessing
from ..construction import UNFILLED, resolve_parts
from ..hub import Hub
from ..network import Network
from ..pools import check_descriptors, check_learned, remake_pool
from ..portable import Files
from ..streams import AUTO, Channels, Projected, StreamArguments, Taps, as_maps
from . import framework
from .backbone import Backbone


@keras.saving.register_keras_serializable(package="bilinear")
class BCNN(keras.Model, Network[Any]):
    """Bilinear CNN: one or two feature extractors, a pool such as `BilinearPool`, a classifier.

    Args:
        backbone: name of a torchvision network: ``"vgg16"``, ``"vgg19"``, ``"vgg16_bn"`` or
            ``"vgg19_bn"`` (up to the last ReLU, 1/16 of the image's size), ``"resnet18"``,
            ``"resnet34"``, ``"resnet50"`` or ``"resnet101"`` (up to layer4, 1/32), or
            ``"inception_v3"`` (up to Mixed_7c, about 1/32); or a Keras layer or model
            that maps images to feature maps, channels last. An unbuilt layer is built for images of
            `in_channels`.
        num_classes: number of classes, at least 1: the length of the logits.
        backbone_b: backbone of a second stream on the same image; None for one stream.
        pool: a ``"channels_last"`` pooling layer; the name of a layer or preset, which is made for
            the model; or a dictionary with its ``"name"`` and arguments, such as
            ``{"name": "CompactBilinearPool", "dim": 1024}``. A custom pool needs a
            ``descriptor_size`` method; one with a ``num_classes`` attribute computes the logits
            itself. None is ``"BilinearPool"``.
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
        dtype: of the parameters: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``,
            or a Keras dtype policy such as ``"mixed_bfloat16"``; None is Keras' global policy.
            Custom layers and pools keep theirs.

    Shape: images (N, H, W, C) of `in_channels`, already normalized, whatever Keras' image data
        format -> logits (N, num_classes). Feature maps of several sizes are resampled bilinearly
        to the smallest, axis by axis.
    Attributes: `preprocessing` of the images and `classes`, the class names; None if unknown.
    Precision: convolutions and the classifier follow the framework's settings for float32 products,
        such as `tf.config.experimental.enable_tensor_float_32_execution`. On PyTorch,
        Keras computes the classifier of a float64 model in float32.
    Raises: ValueError or TypeError for inconsistent arguments, before any layer is built; for
        `weights`, the errors of `load`.
    Example:
        >>> model = BCNN("resnet18", 50, weights="imagenet", projection=64)  # doctest: +SKIP
        >>> model(keras.ops.zeros((2, 448, 448, 3))).shape  # doctest: +SKIP
        TensorShape([2, 50])

    References: Lin, RoyChowdhury, Maji, ICCV 2015.
    """

    _framework = framework
    __signature__ = ClassSignature()

    def __init__(
        self,
        backbone: str | keras.layers.Layer,
        num_classes: int,
        *,
        backbone_b: str | keras.layers.Layer | None = None,
        pool: str | Mapping[str, Any] | keras.layers.Layer | None = None,
        projection: Projected = AUTO,
        taps: Taps = None,
        weights: Any = None,
        channels: Channels = None,
        in_channels: int | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        dtype = keras.dtype_policies.get(dtype) if _is_policy(dtype) else dtype
        make, kind = partial(framework.layer, dtype=dtype), getattr(dtype, "variable_dtype", dtype)
        given = StreamArguments(backbone, backbone_b, channels, taps, projection, in_channels)
        parts = resolve_parts(framework, make, given, num_classes, pool, weights, seed, kind)
        super().__init__(dtype=dtype, **kwargs)
        self._set_attributes(parts, num_classes)
        self.pool = parts.pool
        self.backbone: Any = self._stream("backbone", parts.given.backbone)
        self.backbone_b: Any = self._stream("backbone_b", parts.given.backbone_b)
        projections = [
            framework.layer("Projection", channels=c, dim=dim, dtype=self.dtype_policy, called=name)
            for name, (dim, c) in zip(
                ("projection", "projection_b"), self.streams.projections, strict=False
            )
        ]
        self.projection, self.projection_b = (*projections, None, None)[:2]
        self.classifier = None if self._size is None else self._linear(num_classes)
        self.build((None, None, None, self.streams.in_channels))
        variables = framework.pool_variables(self.pool).items()
        learned = {name: v.dtype for name, v in variables if v.trainable}
        check_learned(self.pool, learned, self.variable_dtype)
        self.assign(parts.tensors(self.specs))

    def _linear(self, num_classes: int) -> keras.layers.Layer:
        return keras.layers.Dense(
            num_classes, kernel_initializer="zeros", dtype=self.dtype_policy, name="classifier"
        )

    def _stream(self, name: str, backbone: Any) -> Any:
        if not isinstance(backbone, str):
            return backbone
        taps = self.streams.taps if name == "backbone" else None
        return Backbone(
            backbone, taps, self.streams.in_channels, dtype=self.dtype_policy, name=name
        )

    @property
    def _streams(self) -> dict[str, Any]:
        """Attribute name -> layer, for one stream or two."""
        return {name: part for name, part in self._parts.items() if name in self._backbones}

    def build(self, input_shape: Any) -> None:
        """Build every layer, so that a model can be saved or quantized before its first call.

        Keras' own exporters need the name of the argument.
        """
        for stream in self._streams.values():
            if stream.built and stream.weights:
                continue
            if isinstance(stream, Backbone):
                stream.build(input_shape)
            else:
                stream(keras.Input(input_shape[1:], dtype=stream.compute_dtype))
        for layer in filter(None, (self.projection, self.projection_b)):
            if not layer.built:
                layer.build((None, None, None, layer.channels))
        if not self.pool.built:
            like = {"dtype": self.pool.compute_dtype}
            self.pool(*(keras.Input((None, None, c), **like) for c in self.streams.pooled))
        if self.classifier is not None and not self.classifier.built:
            self.classifier.build((None, self._size))

    def feature_maps(self, images: Any, training: bool | None = None) -> tuple[Any, ...]:
        """Return the feature maps of each stream, (N, h, w, C), the output of its backbone."""
        spec = partial(framework.input_spec, "images")
        try:
            images = keras.ops.convert_to_tensor(images)
        except (TypeError, ValueError):
            spec(images)  # which refuses what is no tensor
            raise
        self.streams.check_images(spec(images), channels_first=False)
        first, *second = (stream(images, training=training) for stream in self._streams.values())
        return *as_maps(first), *second

    def descriptors(self, images: Any, training: bool | None = None) -> Any:
        """Return the pooled feature maps, (N, D), which the linear classifier receives."""
        check_descriptors(self.pool)
        return self.pool(*self.pooled_maps(images, training))

    def pooled_maps(self, images: Any, training: bool | None = None) -> tuple[Any, ...]:
        """Return the feature maps that the pool receives, (N, h, w, C), after `prepared`."""
        return self.prepared(self.feature_maps(images, training))

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.logits(*self.feature_maps(images, training), training=training)

    def _replace_last(self, num_classes: int, seed: int | None) -> str:
        make = partial(framework.layer, dtype=self.dtype_policy)
        old = self.pool if self.classifier is None else self.classifier
        pool = remake_pool(self.pool, make, num_classes, seed)
        self._tracker.unlock()  # Keras refuses new layers in a model that is built
        self._tracker.untrack(old)
        if self.classifier is None:
            self.pool = pool
        else:
            self.classifier = self._linear(num_classes)
        self._tracker.lock()
        self.build((None, None, None, self.streams.in_channels))
        self.train_function = self.test_function = self.predict_function = None
        return self.variable_dtype

    def canonical(self) -> dict[str, keras.Variable]:
        """Return parameters and statistics by canonical name, in the order of the portable file.

        The momentum that `save` takes has these names. The buffers of `bilinear.keras.SGD`
        fit; the velocity of `keras.optimizers.SGD` does not, since it contains the learning rate.
        """
        return {
            f"{prefix}.{name}": variable
            for prefix, part in self._parts.items()
            for name, variable in _variables(prefix, part).items()
        }

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set parameters and statistics by canonical name, in canonical layout."""
        own = self.canonical()
        for name, array in tensors.items():
            own[name].assign(self.to_own(name, array))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the model. Keras sets the weights of a model made from them."""
        streams = {
            name: self._backbones[name] or _serialize(stream)
            for name, stream in self._streams.items()
        }
        own = {
            "num_classes": self.num_classes,
            "pool": _serialize(self.pool),
            "projection": self.streams.projection,
            "taps": self.streams.taps and list(self.streams.taps),
            "channels": list(self.streams.channels),
            "in_channels": self.streams.in_channels,
            "classes": self.classes and list(self.classes),
            "preprocessing": self.preprocessing and self.preprocessing.to_dict(),
            "quantized": getattr(self.classifier, "quantization_mode", None),
            "frozen": [name for name, layer in self._layers_by_name() if not layer.trainable],
        }
        return super().get_config() | streams | own

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BCNN":
        config = config | {"seed": UNFILLED}
        quantized = config.pop("quantized", None)
        classes, preprocessing, frozen, _ = (
            config.pop(key) for key in ("classes", "preprocessing", "frozen", "trainable")
        )
        for key in ("backbone", "backbone_b", "pool"):
            if isinstance(config.get(key), dict):
                config[key] = _deserialize(config[key], custom_objects=custom_objects)
        model = cls(**config)
        model.classes = classes and tuple(classes)
        model.preprocessing = preprocessing and Preprocessing.from_dict(preprocessing)
        if quantized is not None:
            model.classifier.quantize(quantized)
        for name, layer in model._layers_by_name():
            if name in frozen:
                layer.trainable = False
        return model

    def _layers_by_name(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """The layers whose `trainable` is saved, from the model down; custom layers save theirs."""
        yield "", self
        for name, part in self._parts.items():
            yield name, part
            if isinstance(part, Backbone):
                yield from ((f"{name}.{inner}", layer) for inner, layer in part.parts.items())


_serialize = keras.saving.serialize_keras_object
_deserialize = keras.saving.deserialize_keras_object


def _is_policy(dtype: object) -> bool:
    """Whether `dtype` is a dtype policy of Keras rather than the name of a dtype."""
    mixed = isinstance(dtype, str) and dtype.startswith("mixed_")
    return dtype is None or mixed or isinstance(dtype, dict | keras.DTypePolicy)


def _variables(prefix: str, part: Any) -> dict[str, keras.Variable]:
    """Canonical name (no prefix) -> variable."""
    if isinstance(part, Backbone):
        return part.canonical()
    if prefix == "classifier" and framework.is_linear(part):
        return {"weight": part.kernel} | ({} if part.bias is None else {"bias": part.bias})
    if prefix in ("pool", "projection", "projection_b"):
        return framework.pool_variables(part)
    # Keras numbers the names of layers through the whole process, so positions name them
    names = (re.sub(r"_[0-9]+$", "", variable.name) for variable in part.weights)
    named = (f"{place}.{name}" for place, name in enumerate(names))
    return dict(zip(named, part.weights, strict=True))


_FILES = Files[BCNN, Any](BCNN, framework)
_HUB = Hub[BCNN, Any](_FILES)

save = _FILES.save
load = _FILES.load
load_image = _FILES.load_image
import_checkpoint = _FILES.import_checkpoint
push_to_hub = _HUB.push_to_hub
from_pretrained = _HUB.from_pretrained
