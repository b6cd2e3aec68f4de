"""The formulas of published code for features (N, L, C) in NumPy, to test the presets with."""

import numpy as np

from bilinear.backends.initial_values import classifier_projections, sketch_tables

N, C, LOCATIONS = 2, 5, 12


def outer_sum(x, y=None):
    return np.einsum("nlc,nld->ncd", x, x if y is None else y).reshape(N, -1)


def mean(x):
    return outer_sum(x) / x.shape[1]


def normalize(z, floor=0.0, added=0.0):
    return z / np.sqrt(np.maximum(np.sum(z * z, 1, keepdims=True), floor) + added)


def signed_root(z, eps=0.0):
    return np.sign(z) * np.sqrt(np.abs(z) + eps)


def relu_root(z):
    return np.sqrt(np.maximum(z, 0) + 1e-5) - np.sqrt(np.maximum(-z, 0) + 1e-5)


def newton_schulz(a, steps=5):
    """Return Y of the iteration for matrices with a norm of at most 1."""
    y, z, identity = a, np.eye(C), np.eye(C)
    for _ in range(steps):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return y


def improved(x):
    a = mean(x).reshape(N, C, C)
    norm = np.sqrt(np.sum(a * a, (1, 2), keepdims=True))
    return normalize(relu_root((np.sqrt(norm) * newton_schulz(a / norm)).reshape(N, -1)))


def isqrt_cov(x):
    x = x.swapaxes(1, 2)
    centering = np.eye(LOCATIONS) / LOCATIONS - np.ones((LOCATIONS, LOCATIONS)) / LOCATIONS**2
    a = x @ centering @ x.swapaxes(1, 2)
    trace = np.trace(a, axis1=1, axis2=2)[:, None, None]
    root = np.sqrt(trace) * newton_schulz(a / trace)
    return np.stack([root[:, i, j] for i in range(C) for j in range(i, C)], 1)


def target(x):
    return np.sqrt(np.sum(np.einsum("nlc,nmc->nlm", x, x) ** 2, 2))


def democratic(x, aim=None):
    kernel = np.einsum("nlc,nmc->nlm", x, x) ** 2
    aim = target(x) if aim is None else aim
    alpha = np.ones(x.shape[:2])
    for _ in range(10):
        reached = np.einsum("nlm,nm->nl", kernel, alpha)
        alpha = np.sqrt(aim + 1e-10) * np.sqrt(alpha + 1e-10) / (np.sqrt(reached + 1e-10) + 1e-10)
    z = outer_sum(x * np.sqrt(alpha + 1e-8)[..., None])
    root = np.sqrt(np.where(z.real < 0, -z, z) + 1e-5) - np.sqrt(1e-5)  # relu_root, analytic
    return normalize(np.where(z.real < 0, -root, root))


def sketch(x, dim=2):
    tables = sketch_tables(C, None, dim, 1)
    z = np.zeros((N, dim))
    for c in range(C):
        for d in range(C):
            sign = int(tables.s1[c]) * int(tables.s2[d])
            z[:, (tables.h1[c] + tables.h2[d]) % dim] += sign * np.sum(x[:, :, c] * x[:, :, d], 1)
    assert np.abs(z).min() > 0.1, "a bin is near 0, where the root is discontinuous"
    return z


def scores(x):
    plus, minus = classifier_projections(C, 3, 8, 0)
    energies = [np.sum(np.einsum("nlc,kcr->nlkr", x, u) ** 2, (1, 3)) for u in (plus, minus)]
    return energies[0] - energies[1]


def block_fusion(x, y):
    z = outer_sum(x, y)
    return normalize(np.sqrt(np.maximum(z, 0)) - np.sqrt(np.maximum(-z, 0)))


FORMULAS = {
    "default": lambda x: normalize(signed_root(mean(x), 1e-10)),
    "paper": lambda x: normalize(signed_root(outer_sum(x))),
    "umass": lambda x: normalize(relu_root(mean(x))),
    "umass-improved": improved,
    "haomood": lambda x: normalize(np.sqrt(mean(x) + 1e-5)),
    "hawkeye": lambda x: normalize(np.sqrt(mean(x) + 1e-5)),
    "hawkeye-cbp": lambda x: normalize(signed_root(sketch(x), 1e-10)),
    "fast-mpn": lambda x: normalize(signed_root(mean(x), 1e-8)),
    "fast-mpn-bcnn": lambda x: normalize(signed_root(mean(x), 1e-8)),
    "fast-mpn-cbp": lambda x: normalize(signed_root(sketch(x), 1e-8)),
    "keras": lambda x: normalize(signed_root(mean(x), 1e-9), floor=1e-12),
    "matconvnet-gao": lambda x: normalize(signed_root(outer_sum(x))),
    "caffe-gao": lambda x: normalize(signed_root(outer_sum(x)), added=1e-7),
    "scaled-sqrt": lambda x: normalize(signed_root(outer_sum(x)) / np.sqrt(10000)),
    "block": block_fusion,
    "isqrt-cov": isqrt_cov,
    "democratic": democratic,
    "lrbp": scores,
}
