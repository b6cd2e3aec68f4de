"""Compact bilinear pooling by random Maclaurin features."""

from torch import Tensor

from ...contract.sketches import MaclaurinTables, SketchReduction, check_random_maclaurin
from ._fx import leaf
from ._tensors import specs, tables_to_tensors, upcast
from .low_rank_pool import project
from .outer_pool import divide_by_count, select_locations


@leaf
def random_maclaurin(
    x: Tensor,
    y: Tensor | None = None,
    *,
    tables: MaclaurinTables,
    mask: Tensor | None = None,
    reduction: SketchReduction = "mean",
) -> Tensor:
    """Compact bilinear pooling by random Maclaurin features.

    `bilinear.reference.random_maclaurin` specifies the values, gradients and errors.
    The entries of NumPy tables are checked, those of tensors are not.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        tables: `MaclaurinTables`, as `maclaurin_tables` draws them.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool. Default ``"mean"``.

    Returns: Features (N, dim), or (N, L, dim) for ``"none"``, in the dtype of x.
    Cost: time N·L·(C + D)·dim, memory N·L·dim.

    Example:
        >>> random_maclaurin(torch.rand(2, 49, 8), tables=maclaurin_tables(8, None, 16)).shape
        torch.Size([2, 16])
    """
    op = "random_maclaurin"
    check_random_maclaurin(*specs(op, x, y, mask), reduction, tables)
    tables = tables_to_tensors(op, tables, x=x, y=y, mask=mask)
    return random_maclaurin_unchecked(x, y, tables, mask, reduction).to(x.dtype)


def random_maclaurin_unchecked(
    x: Tensor,
    y: Tensor | None,
    tables: MaclaurinTables,
    mask: Tensor | None,
    reduction: SketchReduction,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = select_locations(upcast(x), mask)
    y_kept = x_kept if y is None else select_locations(upcast(y), mask)
    w1, w2 = (w.to(x_kept.dtype) for w in tables)
    of_signs = x.dtype, x.dtype  # 1 and -1 have this dtype too
    g = project(x_kept, w1, *of_signs) * project(y_kept, w2, *of_signs) / w1.shape[1] ** 0.5
    return g if reduction == "none" else divide_by_count(g.sum(1), x.shape[1], mask, reduction)
