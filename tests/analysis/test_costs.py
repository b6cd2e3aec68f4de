"""Lengths, parameters and bytes of the pooling layers, for sizes that can be counted by hand."""

import pytest

from bilinear.analysis.costs import POOLS, compare_costs

C, K, N = 4, 3, 5
BY_HAND = {
    "AveragePool()": (4, 3 * 4 + 3),
    "BilinearPool()": (16, 3 * 16 + 3),
    "BilinearPool(packed=True)": (10, 3 * 10 + 3),
    "CovariancePool()": (10, 3 * 10 + 3),
    "CompactBilinearPool(4)": (8192, 3 * 8192 + 3),
    "LowRankBilinearPool(4)": (8192, 2 * 4 * 8192 + 3 * 8192 + 3),
    "LowRankBilinearClassifier(4, 3)": (0, 3 * 4 * 8 + 3),
}
"""Call -> length of the descriptor, number of parameters."""


@pytest.mark.parametrize("item_size", [2, 4])
@pytest.mark.parametrize("projected", [False, True])
def test_costs(item_size: int, projected: bool) -> None:
    """A projection to C channels adds its own parameters and changes nothing else."""
    more = 100 * C if projected else 0
    options = {"projection": C} if projected else {}
    channels = 100 if projected else C
    costs = compare_costs(channels, K, batch_size=N, item_size=item_size, **options)
    assert len(costs) == len(POOLS)
    for cost in costs:
        length, parameters = BY_HAND[cost.pool]
        assert cost[1:3] == (length, parameters + more)
        assert cost.weights == item_size * cost.parameters
        assert cost.training == item_size * (3 * cost.parameters + 2 * N * length)


@pytest.mark.parametrize("name", ["channels", "num_classes", "batch_size", "projection"])
def test_sizes_must_be_positive(name: str) -> None:
    sizes = {"channels": C, "num_classes": K, "batch_size": N, name: 0}
    with pytest.raises(ValueError, match=f"compare_costs: {name} must be a positive integer"):
        compare_costs(**sizes)
