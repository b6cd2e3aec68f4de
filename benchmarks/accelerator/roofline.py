"""The least work of an operator: multiplications and additions of its products, bytes moved."""

from collections.abc import Mapping

from ..calls import CLASSES, DIM, RANK, Size, make_call

ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}


def work(name: str, size: Size, dtype: str, gradient: bool) -> tuple[float, float]:
    """Operations and bytes of a forward pass, or of forward and backward.

    Every array, result, cotangent and gradient is read or written once.
    """
    call = make_call(name, size)
    both = sum(a.size for a in (*call.arrays, call.cotangent))
    once = sum(w.size for w in call.weights)
    forward, backward = products(name, size)
    operations = forward + backward * gradient
    if call.projection is not None:
        once += call.projection.size
        of_one = 2.0 * size.samples * size.locations * call.projection.size * len(call.arrays)
        operations += of_one * (1 + gradient)
    return operations, float(ITEM[dtype] * (both * (1 + gradient) + once))


def products(name: str, size: Size) -> tuple[float, float]:
    """Operations of the matrix products of forward and backward, 0 for other operators.

    A product of one stream with itself counts half, because it is symmetric. A matrix square root
    has 12 products, on the smaller side of the features where these are known. A layer has no
    gradient of its weights.
    """
    n, m, c, *_ = map(float, size)
    gram = n * m * c * (c + 1), 2 * n * m * c * c
    kernel = n * m * (m + 1) * c, 2 * n * m * m * c
    root = 24 * n * min(c, m) ** 3
    sketch, scores = 4 * n * m * c * DIM, 2 * n * m * c * CLASSES * RANK
    linear = 2 * n * c * c * CLASSES
    return {
        "outer_pool": gram,
        "bilinear_pool": gram,
        "covariance_pool": gram,
        "BilinearPool": gram,
        "bilinear_scores": (gram[0] + linear, gram[1] + 2 * linear),
        "random_maclaurin": (sketch, sketch),
        "matrix_sqrt": (24 * n * c**3, 48 * n * c**3),
        "covariance_sqrt": (gram[0] + root, gram[1] + 2 * root),
        "CovariancePool": (gram[0] + root, gram[1] + 2 * root),
        "ImprovedBilinearPool": (gram[0] + root, gram[1] + 2 * root),
        "low_rank_pool": (sketch, 2 * sketch),
        "LowRankBilinearPool": (sketch, sketch),
        "HierarchicalBilinearPool": (1.5 * sketch, 1.5 * sketch),
        "low_rank_scores": (scores, 2 * scores),
        "LowRankBilinearClassifier": (scores, scores),
        "democratic_weights": kernel,
        "DemocraticPool": (gram[0] + kernel[0], gram[1] + kernel[1]),
    }.get(name, (0.0, 0.0))


def least_milliseconds(
    operations: float, moved: float, arithmetic: str, rates: Mapping[str, float]
) -> float | None:
    """The time at the measured rates of copies and products, or None if they are unknown."""
    product = rates.get(f"product, {arithmetic}")
    if not product or "copy" not in rates:
        return None
    return 1e3 * max(operations / product, moved / rates["copy"])
