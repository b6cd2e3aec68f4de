"""Linear scores of the bilinear descriptor, which is never in memory as a whole."""

import torch
from torch import Tensor

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores
from ..row_blocks import entries, row_blocks
from ._fx import leaf
from ._tensors import autocast_off, check_devices, matmul, spec, specs, upcast, use_plain_operations
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import norm_from_square
from .outer_pool import count_locations, select_locations
from .signed_sqrt import signed_sqrt_jvp, signed_sqrt_plain


@leaf
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

    `bilinear.reference.bilinear_scores` specifies the values, gradients and errors.
    It saves memory, not time. Do not use it where the descriptors (N, C·D) fit into memory:
    ``torch.nn.functional.linear(bilinear_pool(x, y), weight, bias)`` is faster, and for training a
    packed descriptor of `BilinearPool` with a linear layer. The whole descriptor is never in
    memory here. For a trained `BCNN` with a `BilinearPool`, pass ``model.classifier.weight`` and
    ``model.classifier.bias``.

    Args:
        x: features of the first stream, (N, L, C).
        weight: weights of K classes, (K, C·D), or (K, C(C+1)/2) if packed.
        bias: (K,), or None. Default None.
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        packed: whether `weight` is for packed descriptors of one stream. Default False.

    Returns: Scores (N, K) in the dtype of x.
    Cost: time N·C·D·(L + K), and three times that for the gradient. Memory about 4·N·C·D / 8
        besides the inputs and their gradients. Only the inputs are saved for the backward pass; in
        compiled code, the compiler chooses what is saved.

    Example:
        >>> bilinear_scores(torch.rand(2, 49, 8), torch.rand(5, 64)).shape
        torch.Size([2, 5])
    """
    op = "bilinear_scores"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    of_bias = None if bias is None else spec(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(of_x, spec(op, "weight", weight), of_bias, of_y, of_mask, options)
    check_devices(op, x=x, weight=weight, bias=bias, y=y, mask=mask)
    return bilinear_scores_unchecked(x, weight, bias, y, mask, options).to(x.dtype)


def bilinear_scores_unchecked(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    y: Tensor | None,
    mask: Tensor | None,
    options: DescriptorOptions,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    reduction, eps, l2_eps, packed = options[:4]
    x_kept = select_locations(upcast(x), mask)
    y_kept = None if y is None else select_locations(upcast(y), mask)
    z: Tensor | int = 1
    if reduction == "mean":
        z = x.shape[1] if mask is None else count_locations(mask, x_kept.dtype)[:, None, None]
    given = x_kept, y_kept, upcast(weight), z, eps, packed
    products, square = (_plain if use_plain_operations() else _Sums.apply)(*given)
    scores = products / norm_from_square(square, l2_eps)
    return scores if bias is None else scores + upcast(bias)


def _plain(
    x: Tensor, y: Tensor | None, weight: Tensor, z: Tensor | int, eps: float, packed: bool
) -> tuple[Tensor, Tensor]:
    """`_Sums` of the whole matrix, which compilers split themselves."""
    rows = slice(0, x.shape[2])
    m = signed_sqrt_plain(_matrix(x, x if y is None else y, z, rows, False), eps)
    # Inductor 2.13 fails on a second derivative of index_select, which `_flat` uses.
    s = scale_off_diagonal(upper_triangle(m), x.shape[2]) if packed else m.flatten(1)
    return matmul(s, weight.transpose(-2, -1)), (s * s).sum(1, keepdim=True)


class _Sums(torch.autograd.Function):
    """``W s`` (N, K) and ``‖s‖²`` (N, 1), by row blocks; derivatives compute the roots again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, weight, z, eps, packed):
        y = x if y is None else y
        products, square = x.new_zeros(x.shape[0], weight.shape[0]), x.new_zeros(x.shape[0], 1)
        with autocast_off(x):
            for rows in row_blocks(x.shape[2]):
                s = _flat(_signed_sqrt_in_place(_matrix(x, y, z, rows, packed), eps), packed)
                products = products + matmul(
                    s, weight[:, entries(rows, y.shape[2], packed)].transpose(-2, -1)
                )
                square = square + (s * s).sum(1, keepdim=True)
        return products, square

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
            with autocast_off(x):
                gradients = _in_place(*given, ctx.one_stream)
            dx, dy, dw = gradients
            return dx, None if ctx.one_stream else dy, dw, None, None, None
        of_x, of_y, of_weight = [], [], []
        for rows in row_blocks(x.shape[2]):
            m = signed_sqrt_plain(_matrix(x, y, z, rows, ctx.packed), ctx.eps)
            s, w = _flat(m, ctx.packed), weight[:, entries(rows, y.shape[2], ctx.packed)]
            of_weight.append(matmul(of_products.transpose(-2, -1), s))
            ds = matmul(of_products, w) + 2 * of_square * s
            dg = signed_sqrt_jvp(_unflat(ds, m, ctx.packed), m) / z
            first = rows.start if ctx.packed else 0
            of_x.append(matmul(y[:, :, first:], dg.transpose(-2, -1)))
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
            m = signed_sqrt_plain(_matrix(x, y, z, rows, ctx.packed), ctx.eps)
            first = rows.start if ctx.packed else 0
            s, of = _flat(m, ctx.packed), entries(rows, y.shape[2], ctx.packed)
            dm = torch.zeros_like(m)
            for a, b in ((dx, y), (x, dy)):
                if a is not None and b is not None:
                    dm = dm + matmul(a[:, :, rows].transpose(-2, -1), b[:, :, first:]) / z
            ds = _flat(signed_sqrt_jvp(dm, m), ctx.packed)
            of_products = of_products + matmul(ds, weight[:, of].transpose(-2, -1))
            of_square = of_square + 2 * (s * ds).sum(1, keepdim=True)
            if dw is not None:
                of_products = of_products + matmul(s, dw[:, of].transpose(-2, -1))
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
    """The first-order gradients, for one stream their sum. PyTorch can map a custom operator."""
    dx, dw = torch.zeros_like(x), torch.empty_like(weight, memory_format=torch.contiguous_format)
    dy = dx if one_stream else torch.zeros_like(y)
    for rows in row_blocks(x.shape[2]):
        m = _signed_sqrt_in_place(_matrix(x, y, z, rows, packed), eps)
        s, of = _flat(m, packed), entries(rows, y.shape[2], packed)
        torch.mm(of_products.transpose(-2, -1), s, out=dw[:, of])
        ds = torch.mm(of_products, weight[:, of]).addcmul_(of_square, s, value=2)
        slope = torch.threshold_(m.abs_().mul_(2 * z), 0.0, torch.inf)  # at 0 it gives 0 · ds
        dg = _unflat(ds, m, packed).div_(slope)
        first = rows.start if packed else 0
        dx[:, :, rows].baddbmm_(y[:, :, first:], dg.transpose(-2, -1))
        dy[:, :, first:].baddbmm_(x[:, :, rows], dg)
    return dx, x.new_empty(0) if one_stream else dy, dw


def _matrix(x: Tensor, y: Tensor, z: Tensor | int, rows: slice, packed: bool) -> Tensor:
    """Some rows of the pooled matrix; if packed, their columns from the first row on."""
    first = rows.start if packed else 0
    return matmul(x[:, :, rows].transpose(-2, -1), y[:, :, first:]) / z


def _signed_sqrt_in_place(g: Tensor, eps: float) -> Tensor:
    """The signed root in fewer passes and without a derivative."""
    root = g.abs().add_(eps).sqrt_()
    return g.sign_().mul_(root)  # 0 at 0; the sign of NaN is 0, and 0 · NaN is NaN


def _flat(m: Tensor, packed: bool) -> Tensor:
    """The descriptor entries of these rows; if packed, times √2 right of the diagonal."""
    if not packed:
        return m.flatten(1)
    pairs, weights = _pairs(m)
    return m.flatten(1).index_select(1, pairs) * weights


def _unflat(s: Tensor, m: Tensor, packed: bool) -> Tensor:
    """The transpose of `_flat`; entries left of the diagonal are 0."""
    if not packed:
        return s.view_as(m)
    pairs, weights = _pairs(m)
    origin = pairs.new_full((m.shape[1] * m.shape[2],), len(pairs))
    origin[pairs] = torch.arange(len(pairs), device=m.device)
    padded = torch.nn.functional.pad(s * weights, (0, 1))
    return padded.index_select(1, origin).view_as(m)


def _pairs(m: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices of the entries on and right of the diagonal, and their weights."""
    rows, columns = m.shape[1:]
    row, column = torch.triu_indices(rows, columns, device=m.device)
    weights = torch.full_like(row, 2**0.5, dtype=m.dtype).masked_fill(row == column, 1.0)
    return row * columns + column, weights
