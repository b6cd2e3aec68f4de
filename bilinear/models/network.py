"""What a `BCNN` has in every framework: its attributes, and the methods that are alike."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ..contract import Spec, refuse
from ..contract.errors import type_name
from ..contract.sketches import from_bits, to_bits
from ..data.images import Preprocessing
from . import plans
from .construction import Parts, check_classes, draw_classifier
from .framework import Framework
from .pools import check_descriptors, table_sizes
from .streams import STREAMS, Streams

Tensor = TypeVar("Tensor")


class Network(Generic[Tensor]):
    """The base class of every `BCNN`; `Tensor` is the framework's array."""

    _framework: ClassVar[Framework]
    streams: Streams
    num_classes: int
    pool: Any
    projection: Any
    projection_b: Any
    classifier: Any
    preprocessing: Preprocessing | None
    classes: tuple[str, ...] | None

    def _set_attributes(self, parts: Parts, num_classes: int) -> None:
        self.streams = parts.streams
        self.num_classes = num_classes
        self.preprocessing = parts.preprocessing
        self.classes = None
        self._size = parts.descriptor_size

    def feature_maps(self, images: Any) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def canonical(self) -> dict[str, Any]:
        raise NotImplementedError

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        raise NotImplementedError

    def _replace_last(self, num_classes: int, seed: int | None) -> str:
        """Replace the layer that gives the logits, and return its dtype."""
        raise NotImplementedError

    def descriptors(self, images: Any) -> Tensor:
        """Return the pooled feature maps, (N, D), which the linear classifier receives."""
        check_descriptors(self.pool)
        return self.pool(*self.pooled_maps(images))

    def pooled_maps(self, images: Any) -> tuple[Tensor, ...]:
        """Return the feature maps that the pool receives, after `prepared`."""
        return self.prepared(self.feature_maps(images))

    def prepared(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Project feature maps, and resample them to one size."""
        framework = type(self)._framework  # older releases of torch.compile cannot trace self's
        specs = [framework.input_spec("a feature map", x) for x in maps]
        self.streams.check_maps(specs, channels_first=not framework.channels_last)
        projections = [p for p in (self.projection, self.projection_b) if p is not None]
        if projections:
            maps = [project(x) for project, x in zip(projections, maps, strict=True)]
        return framework.resample(*maps)

    def logits(self, *maps: Tensor, **mode: bool | None) -> Tensor:
        """Return the logits of the maps of `feature_maps`; `mode` is ``training=`` in Keras."""
        pooled = self.pool(*self.prepared(maps), **mode)
        return pooled if self.classifier is None else self.classifier(pooled)

    def reset_classifier(self, num_classes: int, *, seed: int | None = 0) -> None:
        """Replace the classifier by a new one, and set `classes` to None.

        A pool that gives the logits itself is replaced. Device and dtype stay. The parameters of
        the classifier are other tensors: make a new optimizer, or call `compile` of Keras again.

        Args:
            num_classes: number of classes, at least 1.
            seed: of the new weights, equal in every framework; None draws different ones each time.
        """
        check_classes("reset_classifier", num_classes, seed)
        dtype = self._replace_last(num_classes, seed)
        self.num_classes, self.classes = num_classes, None
        self.assign(draw_classifier(num_classes, self._size, seed, dtype))

    def to_own(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return a canonical tensor, or its gradient, in the layout of the framework."""
        if (dim := table_sizes(self.pool).get(name)) is not None:
            return to_bits(name.rpartition(".")[2], array, dim)
        return plans.channels_last(array) if self._is_transposed(name) else array

    def to_canonical(self, name: str, array: Any) -> np.ndarray:
        """Return a parameter or gradient in canonical layout; that of a custom module as it is."""
        array = self._framework.to_numpy(array)
        if array.dtype.kind != "i" and name in table_sizes(self.pool):
            return from_bits(name.rpartition(".")[2], array)
        return plans.channels_first(array) if self._is_transposed(name) else array

    def _is_transposed(self, name: str) -> bool:
        prefix = name.partition(".")[0]
        known = prefix == "classifier" or self._backbones.get(prefix) is not None
        return known and self._framework.channels_last

    @property
    def _backbones(self) -> dict[str, str | None]:
        """Attribute name -> name of the backbone; None for a custom one."""
        return dict(zip(STREAMS, self.streams.pair, strict=True))

    @property
    def _parts(self) -> dict[str, Any]:
        """Attribute name -> module that the model has, in canonical order."""
        names = (*STREAMS, "projection", "projection_b", "pool", "classifier")
        parts = {name: getattr(self, name) for name in names}
        return {name: part for name, part in parts.items() if part is not None}

    def random_tables(self) -> dict[str, np.ndarray]:
        """Return the random tables of the pool by canonical name, as integers."""
        names, own = table_sizes(self.pool), self.canonical()
        return {name: self.to_canonical(name, own[name]).copy() for name in names}

    def check_classifier(self, op: str) -> None:
        """TypeError unless the classifier is one linear layer, or the pool gives the logits."""
        classifier, invariant = self.classifier, "the classifier of a portable file must"
        if mode := getattr(classifier, "quantization_mode", None):  # of Keras
            remedy = "Save before quantizing, or write Keras' own file: model.save('model.keras')."
            refuse(TypeError, op, f"{invariant} not be quantized", mode, remedy)
        if classifier is None or self._framework.is_linear(classifier):
            return
        names = [name for name in self.canonical() if name.startswith("classifier.")]
        received = f"a {type_name(classifier)} with the tensors {', '.join(names) or 'none'}"
        remedy = (
            "Set model.classifier to its linear layer if other layers of it do nothing in "
            "evaluation mode, as dropout does; make pruning and weight normalization permanent."
        )
        refuse(TypeError, op, f"{invariant} be {self._framework.linear}", received, remedy)

    def specs(self) -> dict[str, Spec]:
        return {name: self._framework.spec(tensor) for name, tensor in self.canonical().items()}
