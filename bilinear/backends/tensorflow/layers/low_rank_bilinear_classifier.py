"""`low_rank_scores` as a Keras layer with learned projections."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ....contract import Reduction
from ....contract.layers import CLASSIFIER_RANK, check_arguments, check_maps
from ...initial_values import classifier_projections
from .._tensors import as_written, spec
from ..low_rank_scores import scored
from ._maps import checked, chosen_format, flattened
from ._weights import learned, read


@keras.saving.register_keras_serializable(package="bilinear")
class LowRankBilinearClassifier(keras.layers.Layer):
    """Scores of feature maps by a bilinear classifier of low rank: pooling and classifier in one.

    `low_rank_scores` of their locations, with neither root nor norm. Every class has a matrix
    ``U₊ U₊ᵀ − U₋ U₋ᵀ`` of rank `rank`, half of it positive (the larger half where it is odd).

    Args:
        channels: C.
        num_classes: length of the scores; that a layer has it marks it as a classifier.
        rank: of the matrix of each class; 1 leaves it without a negative part.
        seed: of the initial projections, normal with deviation 1/√(C · rank), equal in every
            framework; bias begins at 0.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, num_classes).
        With ``data_format="channels_first"`` channels are the second axis; None is
        `keras.config.image_data_format()` at construction.
    Attributes: u_plus (num_classes, C, r₊), u_minus (num_classes, C, r₋), bias (num_classes,),
        learned.
    Masks: `mask` is that of the map, which Keras fills in unless it is passed; none leaves the
        layer.
    Dtypes: maps and weights are cast to the policy's compute dtype, which the result has too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` sums, roots and norms are in float32.
    Cost: as `low_rank_scores`.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_classifier_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    Source: Kong, Fowlkes, CVPR 2017, section 3.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        rank: int = CLASSIFIER_RANK,
        *,
        seed: int = 0,
        reduction: Reduction = "sum",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "LowRankBilinearClassifier"
        check_arguments(op, locals())
        self.channels, self.num_classes, self.rank = channels, num_classes, rank
        self.seed = seed
        self.reduction: Reduction = reduction
        self.data_format = chosen_format(op, data_format)
        plus, minus = classifier_projections(channels, num_classes, rank, seed)
        self.u_plus, self.u_minus = learned(self, "u_plus", plus), learned(self, "u_minus", minus)
        self.bias = learned(self, "bias", np.zeros(num_classes, np.float32))

    def build(self, x_shape: Any) -> None:
        """Nothing to make."""

    @as_written
    def call(self, x: Any, mask: Any = None) -> tf.Tensor:
        self._check(x)
        x, _, kept = flattened("LowRankBilinearClassifier", self.data_format, x, None, mask)
        weights = read(self.u_plus), read(self.u_minus), read(self.bias)
        return tf.cast(scored(x, *weights, kept, self.reduction), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: scores have no locations left to mask."""

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, int]:
        return x_shape[0], self.num_classes

    def compute_output_spec(self, x: Any, mask: Any = None) -> keras.KerasTensor:
        checked("LowRankBilinearClassifier", self.data_format, x, None, mask)
        self._check(x)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """The number of classes, whatever the channels."""
        del channels, channels_b
        return self.num_classes

    def get_config(self) -> dict[str, Any]:
        own = ("channels", "num_classes", "rank", "seed", "reduction", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    def _check(self, x: Any) -> None:
        op, first = "LowRankBilinearClassifier", self.data_format == "channels_first"
        check_maps(op, [spec(x)], self.channels, channels_first=first)
