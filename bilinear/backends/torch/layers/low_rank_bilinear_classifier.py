"""`low_rank_scores` as a `torch.nn` module with learned projections."""

import numpy as np
import torch
from torch import Tensor

from ....contract import Reduction
from ....contract.layer_arguments import CLASSIFIER_RANK, LowRankBilinearClassifierArguments
from ...initial_values import classifier_projections
from ..low_rank_scores import low_rank_scores_unchecked
from ._feature_map_layer import DataFormat, Pool


class LowRankBilinearClassifier(LowRankBilinearClassifierArguments, Pool):
    """Pooling and classifier in one layer: scores of a low-rank bilinear classifier.

    `low_rank_scores` of the locations of a feature map, without root and norm. Each class has a
    matrix ``U₊ U₊ᵀ − U₋ U₋ᵀ`` of rank `rank`. U₊ has r₊ = ⌈rank / 2⌉ columns, U₋ has
    r₋ = ⌊rank / 2⌋. Parameters: u_plus (num_classes, C, r₊), u_minus (num_classes, C, r₋) and
    bias, initially 0.

    Args:
        channels: C, a positive integer.
        num_classes: number of scores, a positive integer.
        rank: rank of the matrix of each class, a positive integer. Default 8.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        reduction: ``"sum"`` (default, as published) or ``"mean"`` over the valid locations.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).
        device: device of the parameters; None is PyTorch's default device.
        dtype: `torch.dtype` of the parameters, or its name; None is `torch.get_default_dtype()`.

    Shape: x (N, C, *spatial), mask (N, *spatial) -> (N, num_classes).
    Cost: that of `low_rank_scores`.

    Example:
        >>> LowRankBilinearClassifier(512, 200)(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 200])

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
        data_format: DataFormat = "channels_first",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(locals())
        sizes = self.channels, self.num_classes, self.rank
        plus, minus = classifier_projections(*sizes, self.seed)
        bias = np.zeros(self.num_classes)
        self.add_learned(device, dtype, u_plus=plus, u_minus=minus, bias=bias)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x, _, mask = self.to_locations(x, None, mask, self.channels)
        weights = self.u_plus, self.u_minus, self.bias
        return low_rank_scores_unchecked(x, *weights, mask, self.reduction).to(x.dtype)
