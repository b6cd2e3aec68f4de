"""`low_rank_scores` as a `torch.nn` module with learned projections."""

import torch
from torch import Tensor, nn

from ....contract import Reduction
from ....contract.layers import CLASSIFIER_RANK, check_arguments, check_maps
from ...initial_values import classifier_projections
from .._tensors import spec
from ..low_rank_scores import scored
from ._maps import flattened


class LowRankBilinearClassifier(nn.Module):
    """Scores of feature maps by a bilinear classifier of low rank: pooling and classifier in one.

    `low_rank_scores` of their locations, with neither root nor norm. Every class has a matrix
    ``U₊ U₊ᵀ − U₋ U₋ᵀ`` of rank `rank`, half of it positive (the larger half where it is odd).

    Args:
        channels: C.
        num_classes: length of the scores; that a layer has it marks it as a classifier.
        rank: of the matrix of each class; 1 leaves it without a negative part.
        seed: of the initial projections, normal with deviation 1/√(C · rank), equal in every
            framework; bias begins at 0.

    Shapes: x (N, C, *spatial), mask (N, *spatial) -> (N, num_classes).
    Attributes: u_plus (num_classes, C, r₊), u_minus (num_classes, C, r₋), bias (num_classes,),
        learned.
    Precision: the maps decide; weights are cast to the type that theirs is accumulated in.
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
    ) -> None:
        super().__init__()
        op = "LowRankBilinearClassifier"
        check_arguments(op, locals())
        self.channels, self.num_classes, self.rank = channels, num_classes, rank
        self.seed = seed
        self.reduction: Reduction = reduction
        plus, minus = classifier_projections(channels, num_classes, rank, seed)
        self.u_plus = nn.Parameter(torch.from_numpy(plus))
        self.u_minus = nn.Parameter(torch.from_numpy(minus))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        op = "LowRankBilinearClassifier"
        check_maps(op, [spec(op, "x", x)], self.channels, channels_first=True)
        x, _, mask = flattened(op, x, None, mask)
        return scored(x, self.u_plus, self.u_minus, self.bias, mask, self.reduction).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """The number of classes, whatever the channels."""
        del channels, channels_b
        return self.num_classes

    def extra_repr(self) -> str:
        sizes = f"{self.channels}, {self.num_classes}, {self.rank}"
        return f"{sizes}, seed={self.seed}, reduction={self.reduction!r}"
