"""The scores of a linear classifier on the bilinear descriptor, which is never held."""

import torch
from torch import Tensor

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores
from ..row_blocks import entries, row_blocks
from ._tensors import by_plain_steps, check_devices, matmul, no_autocast, spec, specs, wide
from .half_vectorize import upper, weighed
from .l2_normalize import length
from .outer_pool import counted, keep
from .signed_sqrt import sloped, stepwise


def bilinear_scores(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    y: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
) -> Tensor:
    """Linear scores of the bilinear descriptor: ``bilinear_pool(x, y) Wᵀ + b``.

    With s the roots of the pooled matrix, flattened row-major or halved as in `bilinear_pool`,
    ``scores = (W s) / max(‖s‖, l2_eps) + b``. Both sums are taken some rows of the matrix at a
    time, and the norm divides the scores. Of a trained `BCNN` with a `BilinearPool`, weight and
    bias are ``model.classifier.weight`` and ``model.classifier.bias``.

    Shapes: x (N, L, C), weight (K, C·D), or (K, C(C+1)/2) if packed, bias (K,), y (N, L, D),
        mask (N, L) boolean -> (N, K).
    Gradient: for the cotangent γ, ``∂W = γᵀ u`` with u the descriptors, ``∂b = Σ_n γ``, and that of
        `bilinear_pool` for the cotangent ``γ W``; the roots are computed again.
    Edges: those of `bilinear_pool`; a descriptor of 0 scores b. Half types are widened to float32
        once at the start and rounded once at the end.
    Cost: time N·C·D·(L + K), the gradient thrice that. Memory some 4·N·C·D / 8 beside the
        inputs, and their gradients; between the passes the inputs are held. Compiled, the
        gradient holds what the compiler chooses.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_bilinear_scores`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3: a linear classifier on the descriptor.
    """
    op = "bilinear_scores"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    of_bias = None if bias is None else spec(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(of_x, spec(op, "weight", weight), of_bias, of_y, of_mask, options)
    check_devices(op, x=x, weight=weight, bias=bias, y=y, mask=mask)
    return scored(x, weight, bias, y, mask, options).to(x.dtype)


def scored(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    y: Tensor | None,
    mask: Tensor | None,
    options: DescriptorOptions,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    reduction, eps, l2_eps, packed = options[:4]
    x_kept = keep(wide(x), mask)
    y_kept = None if y is None else keep(wide(y), mask)
    z: Tensor | int = 1
    if reduction == "mean":
        z = x.shape[1] if mask is None else counted(mask, x_kept.dtype)[:, None, None]
    given = x_kept, y_kept, wide(weight), z, eps, packed
    products, square = (_plain if by_plain_steps() else _Sums.apply)(*given)
    scores = products / length(square, l2_eps)
    return scores if bias is None else scores + wide(bias)


def _plain(
    x: Tensor, y: Tensor | None, weight: Tensor, z: Tensor | int, eps: float, packed: bool
) -> tuple[Tensor, Tensor]:
    """`_sums` of the matrix as a whole: compilers choose their pieces themselves.

    Gathered by `upper`: of a second derivative of index_select Inductor 2.13 makes code that fails.
    """
    rows = slice(0, x.shape[2])
    m = stepwise(_matrix(x, x if y is None else y, z, rows, False), eps)
    s = weighed(upper(m), x.shape[2]) if packed else m.flatten(1)
    return matmul(s, weight.mT), (s * s).sum(1, keepdim=True)


def _sums(
    x: Tensor,
    y: Tensor | None,
    weight: Tensor,
    z: Tensor | int,
    eps: float,
    packed: bool,
) -> tuple[Tensor, Tensor]:
    """``W s`` (N, K) and ``‖s‖²`` (N, 1), some rows of the matrix at a time."""
    y = x if y is None else y
    products = x.new_zeros(x.shape[0], weight.shape[0])
    square = x.new_zeros(x.shape[0], 1)
    for rows in row_blocks(x.shape[2]):
        s = _flat(_root_in_place(_matrix(x, y, z, rows, packed), eps), packed)
        products = products + matmul(s, weight[:, entries(rows, y.shape[2], packed)].mT)
        square = square + (s * s).sum(1, keepdim=True)
    return products, square


class _Sums(torch.autograd.Function):
    """The same, holding its inputs alone: what else the derivatives need is computed again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, weight, z, eps, packed):
        with no_autocast(x):
            return _sums(x, y, weight, z, eps, packed)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, y, weight, z, ctx.eps, ctx.packed = inputs
        ctx.one_stream, ctx.z = y is None, None if isinstance(z, Tensor) else z
        tensors = [x, x if y is None else y, weight, *([z] if ctx.z is None else [])]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, of_products, of_square):
        x, y, weight, *z = ctx.saved_tensors
        z = z[0] if ctx.z is None else ctx.z
        if not torch.is_grad_enabled():  # it will not be differentiated: without copies of blocks
            divisor = z if isinstance(z, Tensor) else x.new_full((1, 1, 1), z)
            given = of_products, of_square, x, y, weight, divisor, ctx.eps, ctx.packed
            with no_autocast(x):
                gradients = _in_place(*given, ctx.one_stream)
            dx, dy, dw = gradients
            return dx, None if ctx.one_stream else dy, dw, None, None, None
        of_x, of_y, of_weight = [], [], []
        for rows in row_blocks(x.shape[2]):
            m = stepwise(_matrix(x, y, z, rows, ctx.packed), ctx.eps)
            s, w = _flat(m, ctx.packed), weight[:, entries(rows, y.shape[2], ctx.packed)]
            of_weight.append(matmul(of_products.mT, s))
            ds = matmul(of_products, w) + 2 * of_square * s
            dg = sloped(_unflat(ds, m, ctx.packed), m) / z
            first = rows.start if ctx.packed else 0
            of_x.append(matmul(y[:, :, first:], dg.mT))
            dy = matmul(x[:, :, rows], dg)
            of_y.append(torch.nn.functional.pad(dy, (first, 0)) if first else dy)
        dx, dy, dw = torch.cat(of_x, 2), sum(of_y[1:], of_y[0]), torch.cat(of_weight, 1)
        dx, dy = (dx + dy, None) if ctx.one_stream else (dx, dy)
        return dx, dy, dw, None, None, None

    @staticmethod
    def jvp(ctx, dx, dy, dw, *_):
        x, y, weight, *z = ctx.saved_tensors
        z = z[0] if ctx.z is None else ctx.z
        dy = dx if ctx.one_stream else dy
        of_products = of_square = 0.0
        for rows in row_blocks(x.shape[2]):
            m = stepwise(_matrix(x, y, z, rows, ctx.packed), ctx.eps)
            first = rows.start if ctx.packed else 0
            s, of = _flat(m, ctx.packed), entries(rows, y.shape[2], ctx.packed)
            dm = torch.zeros_like(m)
            for a, b in ((dx, y), (x, dy)):
                if a is not None and b is not None:
                    dm = dm + matmul(a[:, :, rows].mT, b[:, :, first:]) / z
            ds = _flat(sloped(dm, m), ctx.packed)
            of_products = of_products + matmul(ds, weight[:, of].mT)
            of_square = of_square + 2 * (s * ds).sum(1, keepdim=True)
            if dw is not None:
                of_products = of_products + matmul(s, dw[:, of].mT)
        return of_products, of_square


@torch.library.custom_op("bilinear::bilinear_scores_backward", mutates_args=())
def _in_place(
    of_products: Tensor,
    of_square: Tensor,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    z: Tensor,
    eps: float,
    packed: bool,
    one_stream: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The first-order gradients; of one stream both are in the first, and the second is empty.

    An operation of its own, so that PyTorch can map it over cotangents.
    """
    dx, dw = torch.zeros_like(x), torch.empty_like(weight, memory_format=torch.contiguous_format)
    dy = dx if one_stream else torch.zeros_like(y)
    for rows in row_blocks(x.shape[2]):
        m = _root_in_place(_matrix(x, y, z, rows, packed), eps)
        s, of = _flat(m, packed), entries(rows, y.shape[2], packed)
        torch.mm(of_products.mT, s, out=dw[:, of])
        ds = torch.mm(of_products, weight[:, of]).addcmul_(of_square, s, value=2)
        slope = torch.threshold_(m.abs_().mul_(2 * z), 0.0, torch.inf)  # at 0 it gives 0 · ds
        dg = _unflat(ds, m, packed).div_(slope)
        first = rows.start if packed else 0
        dx[:, :, rows].baddbmm_(y[:, :, first:], dg.mT)
        dy[:, :, first:].baddbmm_(x[:, :, rows], dg)
    return dx, x.new_empty(0) if one_stream else dy, dw


def _matrix(x: Tensor, y: Tensor, z: Tensor | int, rows: slice, packed: bool) -> Tensor:
    """Some rows of the pooled matrix; if half, of the columns from the first row on."""
    first = rows.start if packed else 0
    return matmul(x[:, :, rows].mT, y[:, :, first:]) / z


def _root_in_place(g: Tensor, eps: float) -> Tensor:
    """`rooted` in fewer passes, where no derivative is taken of it."""
    root = g.abs().add_(eps).sqrt_()
    return g.sign_().mul_(root)  # 0 at 0; the sign of NaN is 0, and 0 · NaN is NaN


def _flat(m: Tensor, packed: bool) -> Tensor:
    """Rows as the descriptor has them; a half has √2 times what is right of the diagonal."""
    if not packed:
        return m.flatten(1)
    pairs, weights = _pairs(m)
    return m.flatten(1).index_select(1, pairs) * weights


def _unflat(s: Tensor, m: Tensor, packed: bool) -> Tensor:
    """The transpose of `_flat`, selected too: what is left of the diagonal is an entry of 0."""
    if not packed:
        return s.view_as(m)
    pairs, weights = _pairs(m)
    origin = pairs.new_full((m.shape[1] * m.shape[2],), len(pairs))
    origin[pairs] = torch.arange(len(pairs), device=m.device)
    padded = torch.nn.functional.pad(s * weights, (0, 1))
    return padded.index_select(1, origin).view_as(m)


def _pairs(m: Tensor) -> tuple[Tensor, Tensor]:
    """Where rows have their entries on and right of the diagonal, and the weights of these."""
    rows, columns = m.shape[1:]
    row, column = torch.triu_indices(rows, columns, device=m.device)
    weights = torch.full_like(row, 2**0.5, dtype=m.dtype).masked_fill(row == column, 1.0)
    return row * columns + column, weights
