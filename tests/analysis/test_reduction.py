"""Principal components with whitening, against their formula in float64."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

pytest.importorskip("sklearn", reason="the extra retrieval is absent")

from bilinear.analysis.reduction import fit_reduction, open_reduction, write_reduction

from ..agreement import relative_error

SHA = "0" * 64


def sample(count: int, rank: int = 12, seed: int = 0) -> np.ndarray:
    """Rows of 40 values with a mean of size 1 that vary in `rank` directions, each half as far."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(1)
    basis = np.linalg.qr(fixed.standard_normal((40, rank)))[0] * 0.5 ** np.arange(rank)
    return (rng.standard_normal((count, rank)) @ basis.T + fixed.standard_normal(40)).astype("f4")


def batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[k : k + size] for k in range(0, len(rows), size))


def test_a_reduction_is_its_formula(tmp_path: Path) -> None:
    """Of other rows than those of the sample. Eigenvectors of the covariance have any sign."""
    rows, path = sample(16), tmp_path / "r.safetensors"
    mean, weight, share, count = fit_reduction(batches(rows, 3), 8)
    write_reduction(path, mean, weight, sha256=SHA)
    found = open_reduction(path)
    assert (count, found.sha256, len(found.checksum)) == (16, SHA, 64)
    exact = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(exact.T))
    assert share == pytest.approx(values[-8:].sum() / values.sum(), rel=1e-6)
    queries = sample(5, seed=2)
    whitened = (queries - exact.mean(0)) @ vectors[:, :-9:-1] / np.sqrt(values[:-9:-1])
    expected = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    reduced = found(queries)
    assert reduced.dtype == np.float32
    signs = np.sign((reduced * expected).sum(0))
    # the smallest direction has 1/128 of the largest deviation, and coordinates of size 6
    assert relative_error(reduced * signs, expected) < 128 * 6 * 40 * np.finfo(np.float32).eps
    np.testing.assert_array_equal(found(mean[None]), np.zeros((1, 8)))


def test_a_sample_in_blocks_is_whitened() -> None:
    """Its covariance becomes the identity, if the directions outside of the reduction are small."""
    rows = sample(500)
    mean, weight, _, count = fit_reduction(batches(rows, 7), 6)
    whitened = (rows.astype(np.float64) - mean) @ weight.T.astype(np.float64)
    assert count == 500
    np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(6), atol=0.02)


@pytest.mark.parametrize(
    ("rows", "size", "received"),
    [
        (sample(8), 8, "8 descriptors of 40 values"),
        (sample(90), 41, "82 descriptors of 40 values"),
        (sample(0), 2, "fewer in 0 descriptors"),
        (sample(60, rank=5), 6, "fewer in 60 descriptors"),
        (np.repeat(sample(4), 9, 0), 4, "fewer in 36 descriptors"),
    ],
)
def test_too_small_samples_are_refused(rows: np.ndarray, size: int, received: str) -> None:
    words = (
        f"vary in at least {size} directions; got {received}. Use a smaller size, or more images"
    )
    with pytest.raises(ValueError, match=words):
        fit_reduction(batches(rows, 2), size)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    mean, weight = np.zeros(3, np.float32), np.ones((2, 3), np.float32)
    write_reduction(path, mean, weight, sha256=SHA)
    content, tensors = path.read_bytes(), load_file(path)
    metadata = {"format": "bilinear-reduction", "sha256": SHA}
    for change, about in (
        ({"weight": np.ones((2, 4), np.float32)}, metadata),
        ({"weight": np.float64([[1, 2, 3]])}, metadata),
        ({"mean": np.float32([0, 0, np.nan])}, metadata),
        ({}, metadata | {"format": "other"}),
        ({}, None),
    ):
        save_file(tensors | change, path, about)
        with pytest.raises(
            ValueError, match=r"r\.safetensors must be written by bilinear reduction"
        ):
            open_reduction(path)
    for damaged in (content[:-4], content[:20], b""):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"r\.safetensors must be written by bilinear reduction"
        ):
            open_reduction(path)
