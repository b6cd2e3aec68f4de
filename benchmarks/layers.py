"""The published operators and layers; the layers are compositions of the operators."""

from collections.abc import Callable, Mapping
from typing import Any

from .calls import OPERATORS


def formulas(steps: Mapping[str, Any]) -> dict[str, Callable]:
    """Return the published operators of a framework, and the layers composed of them.

    `steps` has the operators, and these functions: "frobenius_root" (Newton–Schulz normalized by
    the Frobenius norm), "triangle" (the upper triangle without √2), "flatten" ((N, C, D) to
    (N, C·D)) and "concatenate".
    """
    flat = steps["flatten"]

    def root_and_norm(z: Any) -> Any:
        return steps["l2_normalize"](steps["signed_sqrt"](z))

    def hierarchical(x: Any, y: Any, z: Any, *weights: Any) -> Any:
        p, q, r = (a @ w for a, w in zip((x, y, z), weights, strict=True))
        pairs = [steps["hadamard_pool"](*pair) for pair in ((p, q), (p, r), (q, r))]
        return steps["concatenate"]([root_and_norm(pair) for pair in pairs])

    def democratic(x: Any) -> Any:
        weights = (steps["democratic_weights"](x) + 1e-8) ** 0.5
        return root_and_norm(flat(steps["outer_pool"](x * weights[:, :, None])))

    composed = {"covariance_sqrt": lambda x: steps["matrix_sqrt"](steps["covariance_pool"](x))}
    return {
        **{name: steps.get(name) or composed[name] for name in OPERATORS},
        "BilinearPool": lambda x: root_and_norm(flat(steps["outer_pool"](x))),
        "CompactBilinearPool": lambda x, tables: root_and_norm(steps["tensor_sketch"](x, tables)),
        "CovariancePool": lambda x: steps["triangle"](composed["covariance_sqrt"](x)),
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
