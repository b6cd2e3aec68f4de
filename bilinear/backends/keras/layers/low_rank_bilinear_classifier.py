"""`low_rank_scores` as a Keras layer with learned projections."""

from typing import Any

import keras
import numpy as np

from ....contract import Reduction
from ....contract.layer_arguments import CLASSIFIER_RANK, LowRankBilinearClassifierArguments
from ...initial_values import classifier_projections
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class LowRankBilinearClassifier(LowRankBilinearClassifierArguments, Pool):
    """Pooling and classifier in one layer: scores of a low-rank bilinear classifier.

    The matrix of each class is ``U₊ U₊ᵀ − U₋ U₋ᵀ``. There is no root and no norm. Specification:
    `bilinear.reference.low_rank_scores`. Cost: that of `low_rank_scores`.

    Args:
        channels: C.
        num_classes: length of the scores. `BCNN` uses a layer with this attribute as classifier.
        rank: rank of the matrix of each class, default 8. r₊ = ⌈rank / 2⌉ and r₋ = ⌊rank / 2⌋.
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        reduction: "sum" (default, as published) or "mean" over the valid locations.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Attributes: u_plus (num_classes, C, r₊) and u_minus (num_classes, C, r₋), initially normal with
        deviation 1/√(C · rank), and bias (num_classes,), initially 0; all learned.
    Shape: (N, *spatial, C), in channels_first (N, C, *spatial) -> (N, num_classes).
    References: Kong, Fowlkes, CVPR 2017, section 3.
    """

    class_name = "LowRankBilinearClassifier"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        rank: int = CLASSIFIER_RANK,
        seed: int | None = 0,
        reduction: Reduction = "sum",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        plus, minus = classifier_projections(self.channels, self.num_classes, self.rank, self.seed)
        bias = np.zeros(self.num_classes, np.float32)
        self.add_arrays({"u_plus": plus, "u_minus": minus, "bias": bias})

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        weights = map(operators().convert_to_tensor, (self.u_plus, self.u_minus, self.bias))
        scores = operators().low_rank_scores_unchecked(x, *weights, mask, self.reduction)
        return keras.ops.cast(scores, x.dtype)
