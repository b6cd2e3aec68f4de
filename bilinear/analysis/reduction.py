"""Reduction of descriptors by principal component analysis with whitening.

``z = diag(λ)^(-1/2) V (d − μ)`` and the reduced descriptor ``z / ‖z‖``, where μ is the mean of a
sample of descriptors d, and V and λ are the principal directions and variances, largest first.
Whitening and normalization for image search: Jégou and Chum, ECCV 2012.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .._files import file_checksum, open_regular, replace_file
from .._require import require_packages
from ..contract import refuse
from .descriptors import unit

FORMAT = "bilinear-reduction"


@dataclass(frozen=True)
class Reduction:
    """A fitted reduction, as read from its file.

    Args:
        mean: μ, (D,) float32.
        weight: diag(λ)^(-1/2) V, (size, D) float32.
        sha256: checksum of the model file whose descriptors it reduces.
        checksum: checksum of the file of the reduction.
    """

    mean: np.ndarray
    weight: np.ndarray
    sha256: str
    checksum: str

    def __call__(self, descriptors: np.ndarray) -> np.ndarray:
        """Reduce descriptors (N, D) to (N, size) float32 of norm 1; 0 where z is 0."""
        return unit((np.asarray(descriptors, np.float32) - self.mean) @ self.weight.T)


def fit_reduction(
    batches: Iterable[np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Fit a reduction to a sample of descriptors with scikit-learn's `IncrementalPCA`.

    The sample is read in blocks of 2 · `size` rows. With at most one block the result is that of an
    exact PCA. With more, directions that are small in the first blocks may be lost.

    Args:
        batches: arrays (n, D) of a real floating dtype.
        size: length of the reduced descriptors, at most D.

    Returns: μ (D,), diag(λ)^(-1/2) V (size, D), both float32; the share of the variance that the
        directions have; and the number of descriptors.
    Cost: about 200 · size · D bytes of memory, whatever the size of the sample.
    Raises: ImportError without scikit-learn; ValueError if the sample varies in fewer than `size`
        directions.
    """
    require_packages("bilinear.analysis.reduction", ("sklearn",), "retrieval")
    from sklearn.decomposition import IncrementalPCA  # type: ignore[import] # noqa: PLC0415 - slow

    pca: Any = IncrementalPCA(size, copy=False)
    count = 0
    for block in _regrouped(batches, 2 * size):
        count += len(block)
        check_sample(size, count, block.shape[1])
        with np.errstate(invalid="ignore"):  # 0 / 0, the share of a variance of 0
            pca.partial_fit(np.asarray(block, np.float64))
    variances = pca.explained_variance_ if count else np.zeros(1)
    # variances below those of the rounding of float32 descriptors would whiten noise
    if not variances[-1] > size * np.finfo(np.float32).eps ** 2 * variances[0]:
        _refuse(size, f"fewer in {count:,} descriptors")
    weight = pca.components_ / np.sqrt(variances)[:, None]
    share = float(pca.explained_variance_ratio_.sum())
    return pca.mean_.astype(np.float32), weight.astype(np.float32), share, count


def _regrouped(batches: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """Join batches to blocks of at least `least` rows, except the last."""
    held: list[np.ndarray] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def check_sample(size: int, count: int, length: int) -> None:
    """Raise ValueError if `count` descriptors of `length` values cannot be reduced to `size`."""
    if size > min(length, count - 1):
        _refuse(size, f"{count:,} descriptors of {length:,} values")


def _refuse(size: int, received: str) -> NoReturn:
    requirement = f"the sample must vary in at least {size:,} directions"
    remedy = "Use a smaller size, or more images."
    refuse(ValueError, "fit_reduction", requirement, received, remedy)


def write_reduction(
    path: str | os.PathLike, mean: np.ndarray, weight: np.ndarray, *, sha256: str
) -> None:
    """Write a reduction to a ``.safetensors`` file atomically. Raises: OSError."""
    with replace_file(path) as temporary:
        tensors = {"mean": mean, "weight": np.ascontiguousarray(weight)}
        save_file(tensors, temporary, {"format": FORMAT, "sha256": sha256})


def open_reduction(path: str | os.PathLike) -> Reduction:
    """Read a reduction. Raises: ValueError that names the file if it is damaged; OSError."""
    open_regular(path).close()
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            mean, weight = (file.get_tensor(name) for name in ("mean", "weight"))
        valid = about.get("format") == FORMAT and len(about.get("sha256", "")) == 64
        valid &= mean.dtype == weight.dtype == np.float32 and weight.shape[1:] == mean.shape
        valid &= bool(np.isfinite(mean).all() and np.isfinite(weight).all())
    except (SafetensorError, ValueError, TypeError, AttributeError):
        valid = False
    if not valid:
        remedy = "Fit it again."
        requirement = f"{path} must be written by bilinear reduction"
        refuse(ValueError, "open_reduction", requirement, "other content", remedy)
    return Reduction(mean, weight, about["sha256"], file_checksum(path))


def reduction_of(source: Path) -> Path:
    """The reduction beside a file of descriptors, or in a folder of shards."""
    name = "reduction.safetensors"
    return source / name if source.is_dir() else source.with_name(f"{source.name}.{name}")
