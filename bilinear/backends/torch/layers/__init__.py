"""The layers: one file each, named after them."""

from .average_pool import AveragePool as AveragePool
from .bilinear_pool import BilinearPool as BilinearPool
from .compact_bilinear_pool import CompactBilinearPool as CompactBilinearPool
from .covariance_pool import CovariancePool as CovariancePool
from .democratic_pool import DemocraticPool as DemocraticPool
from .hierarchical_bilinear_pool import HierarchicalBilinearPool as HierarchicalBilinearPool
from .improved_bilinear_pool import ImprovedBilinearPool as ImprovedBilinearPool
from .low_rank_bilinear_classifier import LowRankBilinearClassifier as LowRankBilinearClassifier
from .low_rank_bilinear_pool import LowRankBilinearPool as LowRankBilinearPool
from .outer_max_pool import OuterMaxPool as OuterMaxPool
from .projection import Projection as Projection
