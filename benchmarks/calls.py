"""The benchmarked calls: for each operator its arrays (as after a ReLU), options and cotangent."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bilinear.backends import initial_values
from bilinear.contract.pooling import packed_size

ELEMENTWISE = ("signed_sqrt", "l2_normalize")
"""Operators whose floor is one read and one write of their arrays."""

DIM = 8192
"""Length of sketches, as published, and of low-rank descriptors."""
CLASSES, RANK = 200, 16


class Size(NamedTuple):
    """Shape of a batch of location features, and options of the descriptor."""

    samples: int
    locations: int
    channels: int = 512
    streams: int = 1
    packed: bool = False
    """Whether the descriptor is packed."""
    masked: bool = False
    """Whether a mask selects some of the locations."""
    projected: int = 0
    """Channels before a projection to `channels`, which precedes the layer; 0 for none."""

    def __str__(self) -> str:
        form = ", packed" if self.packed else "" if self.streams == 1 else ", two streams"
        form += ", masked" if self.masked else ""
        channels = f"{self.projected} → {self.channels}" if self.projected else self.channels
        return f"{self.samples} × {self.locations} × {channels}{form}"


class Call(NamedTuple):
    """One call of an operator, for every framework."""

    arrays: list[np.ndarray]
    options: dict[str, Any]
    cotangent: np.ndarray
    product: bool
    """Whether the floor is the batched matrix products of its arrays."""
    layer: dict[str, Any] | None = None
    """Constructor arguments of a layer; its arrays are (N, L, C) with one spatial axis."""
    weights: tuple[np.ndarray, ...] = ()
    """Learned weights of a layer, which the published formula takes after its arrays."""
    projection: np.ndarray | None = None
    """Weight (channels before, channels) of the projection of every array."""


@functools.lru_cache(maxsize=1)  # the dtypes and passes of a row use equal arrays
def make_call(op: str, size: Size) -> Call:
    if op in LAYERS:
        return _layer_call(op, size)
    rng = np.random.default_rng(0)
    arrays, options, out = OPERATORS[op](size, rng)
    product = op in ("outer_pool", "bilinear_pool") and not size.packed
    return Call(arrays, options, rng.standard_normal(out, "float32"), product)


def _features(size: Size, rng: np.random.Generator, *, streams: int = 0) -> list[np.ndarray]:
    shape = size.samples, size.locations, size.channels
    count = streams or size.streams
    return [np.maximum(rng.standard_normal(shape, "float32") + 0.5, 0) for _ in range(count)]


def _outer(size: Size, rng: np.random.Generator):
    n, _, c, *_ = size
    return _features(size, rng), {}, (n, c, c)


def _descriptor(size: Size, rng: np.random.Generator):
    n, locations, c, *_ = size
    arrays: list[np.ndarray] = _features(size, rng)
    options: dict[str, Any] = {"packed": True} if size.packed else {}
    if size.masked:
        options["mask"] = rng.random((n, locations)) < 0.6
    return arrays, options, (n, packed_size(c) if size.packed else c * c)


def _scores_of_descriptor(size: Size, rng: np.random.Generator):
    (n, _, c, *_), arrays = size, _features(size, rng)
    weight = 0.01 * rng.standard_normal((CLASSES, c * c), "float32")
    return [*arrays, weight, np.zeros(CLASSES, "float32")], {}, (n, CLASSES)


def _elementwise(size: Size, rng: np.random.Generator):
    shape = size.samples, size.channels**2
    return [np.maximum(rng.standard_normal(shape, "float32") + 0.5, 0)], {}, shape


def _gram(size: Size, rng: np.random.Generator) -> np.ndarray:
    (x,) = _features(size, rng)
    return x.swapaxes(1, 2) @ x / size.locations


def _half_vectorize(size: Size, rng: np.random.Generator):
    n, _, c, *_ = size
    return [_gram(size, rng)], {}, (n, packed_size(c))


def _matrix(size: Size, rng: np.random.Generator):
    n, _, c, *_ = size
    return [_gram(size, rng)], {}, (n, c, c)


def _tensor_sketch(size: Size, rng: np.random.Generator):
    tables = initial_values.sketch_tables(size.channels, size.channels, DIM, 0)
    return _features(size, rng), {"tables": tables}, (size.samples, DIM)


def _random_maclaurin(size: Size, rng: np.random.Generator):
    tables = initial_values.maclaurin_tables(size.channels, size.channels, DIM, 0)
    return _features(size, rng), {"tables": tables}, (size.samples, DIM)


def _hadamard(size: Size, rng: np.random.Generator):
    return _features(size, rng, streams=2), {}, (size.samples, size.channels)


def _low_rank(size: Size, rng: np.random.Generator):
    shape = size.channels, DIM
    factors = [rng.standard_normal(shape, "float32") / size.channels**0.5 for _ in range(2)]
    return [*_features(size, rng), *factors], {}, (size.samples, DIM)


def _scores(size: Size, rng: np.random.Generator):
    shape = CLASSES, size.channels, RANK // 2
    factors = [rng.standard_normal(shape, "float32") / size.channels**0.5 for _ in range(2)]
    arrays = [*_features(size, rng), *factors, np.zeros(CLASSES, "float32")]
    return arrays, {}, (size.samples, CLASSES)


def _weights(size: Size, rng: np.random.Generator):
    return _features(size, rng), {}, (size.samples, size.locations)


OPERATORS: dict[str, Callable[[Size, np.random.Generator], tuple]] = {
    "bilinear_pool": _descriptor,
    "bilinear_scores": _scores_of_descriptor,
    "outer_pool": _outer,
    "signed_sqrt": _elementwise,
    "l2_normalize": _elementwise,
    "half_vectorize": _half_vectorize,
    "tensor_sketch": _tensor_sketch,
    "random_maclaurin": _random_maclaurin,
    "covariance_pool": _outer,
    "covariance_sqrt": _outer,
    "matrix_sqrt": _matrix,
    "hadamard_pool": _hadamard,
    "low_rank_pool": _low_rank,
    "low_rank_scores": _scores,
    "democratic_weights": _weights,
    "outer_max_pool": _outer,
}

LAYERS: dict[str, str] = {
    "BilinearPool": "bilinear_pool",
    "CompactBilinearPool": "tensor_sketch",
    "CovariancePool": "half_vectorize",
    "ImprovedBilinearPool": "bilinear_pool",
    "LowRankBilinearPool": "low_rank_pool",
    "LowRankBilinearClassifier": "low_rank_scores",
    "HierarchicalBilinearPool": "low_rank_pool",
    "DemocraticPool": "bilinear_pool",
    "OuterMaxPool": "bilinear_pool",
    "AveragePool": "hadamard_pool",
}
"""Layer -> an operator whose result has the same shape."""


def _layer_call(name: str, size: Size) -> Call:
    rng, c = np.random.default_rng(0), size.channels
    *_, out = OPERATORS[LAYERS[name]](size._replace(streams=1), np.random.default_rng(0))
    arguments: dict[str, Any] = {}
    options: dict[str, Any] = {}
    weights: tuple[np.ndarray, ...] = ()
    streams = 1
    if name == "CompactBilinearPool":
        arguments = {"channels": c, "dim": DIM}
        options = {"tables": initial_values.sketch_tables(c, None, DIM, 0)}
    elif name == "LowRankBilinearPool":
        arguments = {"channels": c, "dim": DIM}
        weights = tuple(initial_values.low_rank_projections(c, DIM, 1, 0))
    elif name == "LowRankBilinearClassifier":
        arguments = {"channels": c, "num_classes": CLASSES, "rank": RANK}
        plus, minus = initial_values.classifier_projections(c, CLASSES, RANK, 0)
        weights = plus, minus, np.zeros(CLASSES, "float32")
    elif name == "HierarchicalBilinearPool":
        streams, arguments = 3, {"channels": [c] * 3, "dim": DIM}
        weights = tuple(initial_values.projections([(c, DIM)] * 3, 0))
        out = out[0], 3 * DIM
    wide = size._replace(channels=size.projected or c)
    arrays = _features(wide, rng, streams=streams)
    cotangent = rng.standard_normal(out, "float32")
    call = Call(arrays, options, cotangent, False, arguments, weights)
    if not size.projected:
        return call
    projection = rng.standard_normal((size.projected, c), "float32") / size.projected**0.5
    return call._replace(projection=projection)


LOCATIONS = {"28 × 28 (VGG16 at 448)": 784, "14 × 14 (VGG16 at 224, ResNet18 at 448)": 196}

SIZES = {
    "tensor_sketch": Size(4, 196),
    "random_maclaurin": Size(4, 196),
    "covariance_sqrt": Size(8, 49),
    "matrix_sqrt": Size(4, 784, 256),
    "low_rank_pool": Size(4, 196),
    "low_rank_scores": Size(16, 196),
    "democratic_weights": Size(16, 196),
    "outer_max_pool": Size(4, 49, 256),
    "CompactBilinearPool": Size(4, 196),
    "CovariancePool": Size(4, 784, 256),
    "ImprovedBilinearPool": Size(4, 784, 256),
    "LowRankBilinearPool": Size(4, 196),
    "LowRankBilinearClassifier": Size(16, 196),
    "HierarchicalBilinearPool": Size(4, 196),
    "DemocraticPool": Size(16, 196),
    "OuterMaxPool": Size(4, 49, 256),
}
"""Smaller sizes for operators whose published formulas need much memory or time."""

FEW_LOCATIONS = (Size(8, 49), Size(8, 196), Size(4, 196, 1024))
"""Feature maps with fewer locations than channels, as those of ResNets at 224 × 224."""
