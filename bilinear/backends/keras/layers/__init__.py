"""The Keras layers, one file each."""

from .average_pool import AveragePool
from .bilinear_pool import BilinearPool
from .compact_bilinear_pool import CompactBilinearPool
from .covariance_pool import CovariancePool
from .democratic_pool import DemocraticPool
from .hierarchical_bilinear_pool import HierarchicalBilinearPool
from .improved_bilinear_pool import ImprovedBilinearPool
from .low_rank_bilinear_classifier import LowRankBilinearClassifier
from .low_rank_bilinear_pool import LowRankBilinearPool
from .outer_max_pool import OuterMaxPool
from .projection import Projection

__all__ = [
    "AveragePool",
    "BilinearPool",
    "CompactBilinearPool",
    "CovariancePool",
    "DemocraticPool",
    "HierarchicalBilinearPool",
    "ImprovedBilinearPool",
    "LowRankBilinearClassifier",
    "LowRankBilinearPool",
    "OuterMaxPool",
    "Projection",
]
