"""The common tests of both sketches of compact bilinear pooling: statistics and tables."""

import importlib
import re
from collections.abc import Callable

import numpy as np
import pytest

from bilinear import reference
from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.contract.sketches import CHANNELS, SketchTables
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, driver

SEEDS, DIM, SIGMAS = 1500, 16, 5
"""Five standard errors: a false alarm has probability 1 in 2 million, and the seeds are fixed."""

DRAWS: dict[str, Callable] = {"tensor_sketch": sketch_tables, "random_maclaurin": maclaurin_tables}


def kernels(method: str) -> tuple[np.ndarray, np.ndarray]:
    """Return two vectors, and ⟨sketch(x), sketch(y)⟩ for the tables of many seeds."""
    pair = normal("float64", 2, 1, 6, seed=2)
    pair[1] += 0.7 * pair[0]
    estimates = []
    for seed in range(SEEDS):
        first, second = getattr(reference, method)(pair, tables=DRAWS[method](6, None, DIM, seed))
        estimates.append(first @ second)
    return pair[:, 0], np.array(estimates)


def variance(method: str, x: np.ndarray, y: np.ndarray) -> float:
    """Return the variance of an estimate (random Maclaurin) or an upper bound (tensor sketch).

    A row of signs has ``E (wᵀx wᵀy)² = |x|²|y|² + 2 (⟨x,y⟩² − Σ x²y²)``, the two factors are
    independent, and dim columns are averaged. In the tensor sketch, the square of the estimate is
    a sum over four pairs of channels. In each of the two factors, the signs leave three ways to
    match them, each at most |x|²|y|². One of the nine combinations is ⟨x,y⟩⁴. The others need a
    collision with probability 1/dim. (Pham and Pagh, KDD 2013; Avron, Nguyen and Woodruff,
    NIPS 2014, whose 2 + 3² includes an expectation.)
    """
    dot, size = x @ y, (x @ x) * (y @ y)
    if method == "tensor_sketch":
        return (3**2 - 1) * size**2 / DIM
    return ((size + 2 * (dot**2 - (x * x) @ (y * y))) ** 2 - dot**4) / DIM


X, Y = np.ones((2, 4, 3), np.float32), np.ones((2, 4, 5), np.float32)
HASHES, SIGNS = sketch_tables(3, 5, 8), maclaurin_tables(3, 5, 8)
REFUSED = {
    "tensor_sketch": [
        (HASHES._replace(dim=2), "must lie from 0 to dim - 1"),
        (HASHES._replace(h1=-HASHES.h1 - 1), "h1 must lie from 0"),
        (HASHES._replace(s2=2 * HASHES.s2), "s2 must hold +1 and -1"),
        (sketch_tables(3, 4, 8), CHANNELS),
        (HASHES._replace(dim=np.int64(8)), "must be a Python int"),
        (HASHES._replace(dim=0), "dim must be a positive integer"),
        (HASHES._replace(h1=HASHES.h1 * 1.0), "h1 must be one of"),
        (HASHES._replace(h1=HASHES.h1.astype(np.int8)), "h1 must be one of (int32, int64)"),
        (HASHES._replace(h1=[0, 1, 2]), "h1 must be an array"),
        (tuple(HASHES), "tables must be a SketchTables"),
    ],
    "random_maclaurin": [
        (HASHES, "tables must be a MaclaurinTables"),
        (SIGNS._replace(w2=SIGNS.w2[:, :7]), CHANNELS),
        (SIGNS._replace(w1=0 * SIGNS.w1), "w1 must hold"),
    ],
}
"""Tables that the operators refuse for the features X and Y, and a part of the message."""


class SketchTests:
    """Statistics of kernel estimates over many seeds, and invalid tables."""

    op = ""

    def test_estimates_of_the_kernel_are_unbiased(self) -> None:
        """⟨sketch(x), sketch(y)⟩ is ⟨x,y⟩² on average."""
        (x, y), estimates = kernels(self.op)
        error = abs(estimates.mean() - (x @ y) ** 2)
        assert error <= SIGMAS * (variance(self.op, x, y) / SEEDS) ** 0.5
        # and the kernel is far from 0
        assert (x @ y) ** 2 > 4 * SIGMAS * (variance(self.op, x, y) / SEEDS) ** 0.5

    def test_variance_of_the_estimates_is_as_published(self) -> None:
        (x, y), estimates = kernels(self.op)
        off = estimates - (x @ y) ** 2
        found, error = (off**2).mean(), (off**2).std() / SEEDS**0.5
        expected = variance(self.op, x, y)
        assert found <= expected + SIGMAS * error
        if self.op == "random_maclaurin":
            assert found >= expected - SIGMAS * error

    def test_pooling_commutes_with_the_sketch(self) -> None:
        """The sketch is linear: the sketch of a sum is the sum of the sketches."""
        x, tables = normal("float64", 2, 4, 6), DRAWS[self.op](6, None, 8, 0)
        apart = getattr(reference, self.op)(x, tables=tables, reduction="none")
        pooled = getattr(reference, self.op)(x, tables=tables, reduction="sum")
        assert_rounded(apart.sum(1), pooled, 64, scale=float(np.abs(apart).sum(1).max()) * 4)

    @pytest.mark.parametrize("backend", ["reference", *PRESENT])
    def test_wrong_tables_are_refused(self, backend: str) -> None:
        function, arrays = getattr(reference, self.op), (X, Y)
        if backend != "reference":
            function = getattr(importlib.import_module(f"bilinear.{backend}"), self.op)
            arrays = tuple(map(driver(backend).to_native, arrays))
        for tables, sentence in REFUSED[self.op]:
            with pytest.raises((TypeError, ValueError), match=re.escape(sentence)) as caught:
                function(*arrays, tables=tables)
            assert f"{self.op}: " in str(caught.value)


def dense_sketch(x: np.ndarray, tables: SketchTables) -> np.ndarray:
    """Return sum-pooled sketches by dense matrices and complex transforms, as in other code."""
    matrices = []
    for h, s in (tables[0:2], tables[2:4]):
        matrix = np.zeros((len(h), tables.dim))
        matrix[np.arange(len(h)), h] = s
        matrices.append(matrix)
    transforms = [np.fft.fft(x @ matrix) for matrix in matrices]
    return np.fft.ifft(transforms[0] * transforms[1]).real.sum(1)


def known_tables(channels: int, dim: int) -> SketchTables:
    """Return tables as other codebases draw them: NumPy's old generator with seeds 1, 3, 5, 7."""
    state = np.random.RandomState
    h1, h2 = (state(seed).randint(dim, size=channels) for seed in (1, 5))
    s1, s2 = (2 * state(seed).randint(2, size=channels) - 1 for seed in (3, 7))
    return SketchTables(h1, s1, h2, s2, dim)
