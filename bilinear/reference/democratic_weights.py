"""Weights under which locations contribute more equally to a sum of outer products."""

import numpy as np

from ..contract import EPS
from ..contract.aggregation import DAMPING, GAMMA, STEPS, check_democratic_weights
from ._arrays import Array, round_to, spec, upcast


def democratic_weights(
    x: Array,
    *,
    gamma: float = GAMMA,
    damping: float = DAMPING,
    steps: int = STEPS,
    eps: float = EPS,
    mask: Array | None = None,
    detach_target: bool = False,
) -> Array:
    """Find weights α of γ-democratic aggregation, by damped Sinkhorn steps.

    With the kernel of outer products ``K[l,m] = ⟨x[l], x[m]⟩²`` over the valid locations,
    location l contributes ``α[l] Σ_m K[l,m] α[m]`` to the squared length of ``Σ_l α[l] x[l]
    x[l]ᵀ``. The target of this contribution is ``C[l] = (Σ_m K[l,m])^γ``. Start from α = 1, and
    repeat `steps` times, with τ = `damping` and ε = `eps`,

        α ← (C + ε)^τ (α + ε)^(1−τ) / ((K α + ε)^τ + ε).

    For γ = 1, which is sum pooling, α stays 1 up to ε. For γ = 0, the targets are equal.
    `DemocraticPool` sums the outer products of the features, scaled by √α.

    Args:
        x: features, (N, L, C).
        gamma: exponent of the target contributions, from 0 (equal) to 1 (sum pooling). Default 0.5.
        damping: exponent of a Sinkhorn step, above 0 and at most 1. Default 0.5.
        steps: number of Sinkhorn steps, from 1 to 1000. Default 10.
        eps: added to the base of each power, a positive number. Default 1e-10.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        detach_target: whether the gradient treats the targets as constants. Default False.

    Returns:
        Weights (N, L) in the dtype of x.

    Shape:
        x (N, L, C), mask (N, L) boolean, True at valid locations -> (N, L).

    Gradient:
        The exact derivative, through every step and through C. With `detach_target`, C is treated
        as a constant, as in published code.
        A location where the mask is False does not contribute, even if it is NaN; its weight is 0
        with gradient 0. For a zero feature vector, C is 0 with slope 0 for every γ, and each step
        multiplies its weight by about 1 / (1 + ε^(1 − τ)), which is 1/2 for τ = 1. Its gradient is
        0, because K is quadratic. The same holds for a sample of zeros. A NaN makes all weights of
        its sample NaN.

    Raises:
        ValueError for L = 0 or C = 0 (N = 0 is allowed), γ outside [0, 1], τ outside (0, 1], no
        step, or an eps that is not a normal positive number of the accumulation dtype; TypeError
        for integer or complex features, or a mask that is not boolean.

    Example:
        >>> democratic_weights(np.ones((2, 49, 8))).shape
        (2, 49)

    References:
        Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018, section 3 and its
        damped Sinkhorn algorithm (there for first-order weights: Murray, Jégou, Perronnin,
        Zisserman, "Interferences in Match Kernels", 2017); the positions of ε are those of the
        authors' code, cvl-umass/bilinear-cnn.
    """
    check_democratic_weights(spec(x), spec(mask), gamma, damping, steps, eps, detach_target)
    return round_to(
        _democratic_weights(upcast(x), gamma, damping, steps, eps, mask, detach_target), x
    )


def democratic_weights_vjp(
    cotangent: Array,
    x: Array,
    *,
    gamma: float = GAMMA,
    damping: float = DAMPING,
    steps: int = STEPS,
    eps: float = EPS,
    mask: Array | None = None,
    detach_target: bool = False,
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, democratic_weights(x)⟩`` with respect to x."""
    check_democratic_weights(spec(x), spec(mask), gamma, damping, steps, eps, detach_target)
    (gradient,) = _democratic_weights_vjp(
        upcast(cotangent), upcast(x), gamma, damping, steps, eps, mask, detach_target
    )
    return (round_to(gradient, x),)


def _democratic_weights(x, gamma, damping, steps, eps, mask, detach_target):
    del detach_target  # it changes gradients only
    _, k = _kernel(x, mask)
    weights = _iterates(k, _target(k, gamma), damping, steps, eps)[-1]
    return weights if mask is None else np.where(mask, weights, 0)


def _democratic_weights_vjp(ct, x, gamma, damping, steps, eps, mask, detach_target):
    x = x if mask is None else np.where(mask[:, :, None], x, 0)
    inner, k = _kernel(x, None)
    c = _target(k, gamma)
    iterates = _iterates(k, c, damping, steps, eps)
    ct = ct if mask is None else np.where(mask, ct, 0)
    of_c, of_k = np.zeros_like(c), np.zeros_like(k)
    for before, after in zip(iterates[-2::-1], iterates[:0:-1], strict=True):
        scaled = ct * after  # the cotangent of log α
        sums = _times(k, before) + eps
        of_c += damping * scaled / (c + eps)
        of_sums = -scaled / (sums**damping + eps) * damping * sums ** (damping - 1)
        of_k += of_sums[:, :, None] * before[:, None, :]
        ct = (1 - damping) * scaled / (before + eps) + _times(k, of_sums)  # K is symmetric
    if not detach_target:
        total = k.sum(axis=2)
        dead = total == 0
        slope = np.where(dead, 0, gamma * np.where(dead, 1, total) ** (gamma - 1))
        of_k += (of_c * slope)[:, :, None]
    of_inner = 2 * inner * of_k
    gradient = (of_inner + of_inner.swapaxes(1, 2)) @ x
    return (gradient if mask is None else np.where(mask[:, :, None], gradient, 0),)


def _kernel(x, mask):
    """Inner products of the features and their squares; invalid features are zero vectors."""
    x = x if mask is None else np.where(mask[:, :, None], x, 0)
    inner = x @ x.swapaxes(1, 2)
    return inner, inner * inner


def _target(k, gamma):
    total = k.sum(axis=2)
    dead = total == 0
    return np.where(dead, 0, np.where(dead, 1, total) ** gamma)


def _iterates(k, c, damping, steps, eps):
    """α before the first step, and after each."""
    iterates = [np.ones_like(c)]
    for _ in range(steps):
        before = iterates[-1]
        sums = (_times(k, before) + eps) ** damping + eps
        iterates.append((c + eps) ** damping * (before + eps) ** (1 - damping) / sums)
    return iterates


def _times(k, alpha):
    return (k @ alpha[:, :, None])[:, :, 0]
