"""Signed square root and L2 normalization, the last steps of several layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import reference
from ..contract import EPS, L2_EPS
from . import bounds
from .bounds import Bounded


def root_and_norm(h: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    return reference.l2_normalize(_signed_sqrt(h, options), eps=options.get("l2_eps", L2_EPS))


def root_and_norm_vjp(ct: np.ndarray, h: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Return the gradient of h."""
    roots, floor = _signed_sqrt(h, options), options.get("l2_eps", L2_EPS)
    (ct,) = reference.l2_normalize_vjp(ct, roots, eps=floor)
    (ct,) = reference.signed_sqrt_vjp(ct, h, eps=options.get("eps", EPS))
    return ct


def bound(h: Bounded, options: Mapping[str, Any], acc: str) -> Bounded:
    """Return `root_and_norm` with its error bound for an inexact argument."""
    roots = bounds.signed_sqrt(h, options.get("eps", EPS), acc)
    return bounds.l2_normalize(roots, options.get("l2_eps", L2_EPS), acc)


def bound_vjp(ct: np.ndarray, h: Bounded, options: Mapping[str, Any], acc: str) -> Bounded:
    eps, floor = options.get("eps", EPS), options.get("l2_eps", L2_EPS)
    roots = bounds.signed_sqrt(h, eps, acc)
    of_roots = bounds.l2_normalize_vjp(bounds.exact(ct.astype(np.longdouble)), roots, floor, acc)
    return bounds.signed_sqrt_vjp(of_roots, h, eps, acc)


def _signed_sqrt(h: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    return reference.signed_sqrt(h, eps=options.get("eps", EPS))
