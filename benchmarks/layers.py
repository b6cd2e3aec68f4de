"""The layers as published: compositions of the published operators."""

from collections.abc import Callable, Mapping
from typing import Any

Formula = Callable[..., Any]


def layer_formulas(steps: Mapping[str, Formula], flat: Formula) -> dict[str, Formula]:
    """Return the layers of a framework, composed of its published operators `steps`.

    `flat` reshapes (N, C, D) to (N, C·D). The additional steps are "frobenius_root" (Newton–Schulz
    normalised by the Frobenius norm), "triangle" (the upper triangle without √2) and "concatenate".
    """

    def root_and_norm(z: Any) -> Any:
        return steps["l2_normalize"](steps["signed_sqrt"](z))

    def covariance(x: Any) -> Any:
        return steps["triangle"](steps["matrix_sqrt"](steps["covariance_pool"](x)))

    def hierarchical(x: Any, y: Any, z: Any, *weights: Any) -> Any:
        p, q, r = (a @ w for a, w in zip((x, y, z), weights, strict=True))
        pairs = [steps["hadamard_pool"](*pair) for pair in ((p, q), (p, r), (q, r))]
        return steps["concatenate"]([root_and_norm(pair) for pair in pairs])

    def democratic(x: Any) -> Any:
        weights = (steps["democratic_weights"](x) + 1e-8) ** 0.5
        return root_and_norm(flat(steps["outer_pool"](x * weights[:, :, None])))

    return {
        "BilinearPool": lambda x: root_and_norm(flat(steps["outer_pool"](x))),
        "CompactBilinearPool": lambda x, tables: root_and_norm(steps["tensor_sketch"](x, tables)),
        "CovariancePool": covariance,
        "ImprovedBilinearPool": lambda x: root_and_norm(
            flat(steps["frobenius_root"](steps["outer_pool"](x)))
        ),
        "LowRankBilinearPool": lambda x, u, v: root_and_norm(steps["low_rank_pool"](x, u, v)),
        "LowRankBilinearClassifier": steps["low_rank_scores"],
        "HierarchicalBilinearPool": hierarchical,
        "DemocraticPool": democratic,
        "AveragePool": lambda x: steps["hadamard_pool"](x, x**0),
        "OuterMaxPool": lambda x: root_and_norm(flat(steps["outer_max_pool"](x))),
    }
