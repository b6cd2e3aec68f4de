"""The layers as papers and codebases write them: the published steps, one after the other."""

from collections.abc import Callable, Mapping
from typing import Any

Formula = Callable[..., Any]


def layer_formulas(steps: Mapping[str, Formula], flat: Formula) -> dict[str, Formula]:
    """Of a framework's own operators as published; `flat` makes (N, C, D) to (N, C·D).

    "frobenius_root" divides by that norm, "triangle" takes the upper triangle as it is, "joined"
    puts vectors one after the other.
    """

    def powered(z: Any) -> Any:
        return steps["l2_normalize"](steps["signed_sqrt"](z))

    def covariance(x: Any) -> Any:
        return steps["triangle"](steps["matrix_sqrt"](steps["covariance_pool"](x)))

    def hierarchical(x: Any, y: Any, z: Any, *weights: Any) -> Any:
        p, q, r = (a @ w for a, w in zip((x, y, z), weights, strict=True))
        pairs = [steps["hadamard_pool"](*pair) for pair in ((p, q), (p, r), (q, r))]
        return steps["joined"]([powered(pair) for pair in pairs])

    def democratic(x: Any) -> Any:
        weights = (steps["democratic_weights"](x) + 1e-8) ** 0.5
        return powered(flat(steps["outer_pool"](x * weights[:, :, None])))

    return {
        "BilinearPool": lambda x: powered(flat(steps["outer_pool"](x))),
        "CompactBilinearPool": lambda x, tables: powered(steps["tensor_sketch"](x, tables)),
        "CovariancePool": covariance,
        "ImprovedBilinearPool": lambda x: powered(
            flat(steps["frobenius_root"](steps["outer_pool"](x)))
        ),
        "LowRankBilinearPool": lambda x, u, v: powered(steps["low_rank_pool"](x, u, v)),
        "LowRankBilinearClassifier": steps["low_rank_scores"],
        "HierarchicalBilinearPool": hierarchical,
        "DemocraticPool": democratic,
        "AveragePool": lambda x: steps["hadamard_pool"](x, x**0),
        "OuterMaxPool": lambda x: powered(flat(steps["outer_max_pool"](x))),
    }
