"""Invalid input, which must raise the errors of `bilinear.contract` before any computation."""

from typing import Any

import numpy as np

from .driver import REFERENCE, Driver

X = np.ones((2, 4, 3), np.float32)
Y = np.ones((2, 4, 5), np.float32)
KEEP = np.ones((2, 4), bool)
PACKED = {"packed": True}

BAD: dict[str, tuple[str, tuple[np.ndarray, ...], dict[str, Any]]] = {
    "rank": ("outer_pool", (X[0],), {}),
    "no location": ("outer_pool", (X[:, :0],), {}),
    "no channel": ("bilinear_pool", (X[:, :, :0],), {}),
    "no channel in y": ("bilinear_pool", (X, Y[:, :, :0]), {}),
    "two batches": ("outer_pool", (X, Y[:1]), {}),
    "two counts of locations": ("bilinear_pool", (X, Y[:, :3]), {}),
    "integers": ("outer_pool", (X.astype(np.int32),), {}),
    "complex": ("signed_sqrt", (X.astype(np.complex64),), {}),
    "two dtypes": ("bilinear_pool", (X, Y.astype(np.float64)), {}),
    "mask of floats": ("outer_pool", (X,), {"mask": KEEP.astype(np.float32)}),
    "mask of another shape": ("bilinear_pool", (X,), {"mask": KEEP[:, :3]}),
    "unknown reduction": ("outer_pool", (X,), {"reduction": "max"}),
    "negative eps": ("signed_sqrt", (X,), {"eps": -1e-10}),
    "vanishing eps": ("signed_sqrt", (X,), {"eps": 1e-60}),
    "eps that is NaN": ("bilinear_pool", (X,), {"eps": float("nan")}),
    "eps that is a list": ("signed_sqrt", (X,), {"eps": [1e-10]}),
    "eps that is a boolean": ("l2_normalize", (X,), {"eps": True}),
    "zero floor": ("l2_normalize", (X,), {"eps": 0.0}),
    "vanishing floor": ("bilinear_pool", (X,), {"l2_eps": 1e-60}),
    "packed, not square": ("half_vectorize", (X,), {}),
    "packed, without batch": ("half_vectorize", (X[0],), {}),
    "packed, empty matrix": ("half_vectorize", (X[:, :0, :0],), {}),
    "packed, integers": ("half_vectorize", (X[:, :3].astype(np.int32),), {}),
    "isometric that is an integer": ("half_vectorize", (X[:, :3],), {"isometric": 1}),
    "streams of two widths": ("hadamard_pool", (X, X, Y), {}),
    "third stream with other locations": ("hadamard_pool", (X, X, X[:, :3]), {}),
    "windows that are uneven": ("hadamard_pool", (X, X), {"rank": 2}),
    "windows of nothing": ("hadamard_pool", (X, X), {"rank": 0}),
    "projection of other features": ("low_rank_pool", (X, Y[0], X[0, :3]), {}),
    "projections to two widths": ("low_rank_pool", (X, X[0, :3], Y[0, :3]), {}),
    "projection of another dtype": ("low_rank_pool", (X, X[0, :3], X[0, :3].astype("f8")), {}),
    "unknown activation": ("low_rank_pool", (X, X[0, :3], X[0, :3]), {"activation": "gelu"}),
    "scores of nothing": ("low_rank_scores", (X, X.mT[..., :0], X.mT[..., :0], X[0, 0, :2]), {}),
    "biases of other classes": ("low_rank_scores", (X, X.mT, X.mT, X[0, 0]), {}),
    "scores of other descriptors": ("bilinear_scores", (X, X[0, :, :2]), {}),
    "packed, weights of a full one": ("bilinear_scores", (X, np.ones((2, 9), "f4")), PACKED),
    "weights of another dtype": ("bilinear_scores", (X, np.ones((2, 9))), {}),
    "biases of other scores": ("bilinear_scores", (X, np.ones((2, 9), "f4"), X[0, 0]), {}),
    "packed, two streams": ("bilinear_pool", (X, Y), PACKED),
    "packed that is a string": ("bilinear_pool", (X,), {"packed": "yes"}),
    "unknown form of the root": ("signed_sqrt", (X,), {"root": "cubic"}),
    "unsigned root without eps": ("bilinear_pool", (X,), {"root": "unsigned", "eps": 0.0}),
    "published slope without width": ("signed_sqrt", (X,), {"eps": 0.0, "slope_eps": 0.0}),
    "published slope of a root with eps": ("bilinear_pool", (X,), {"slope_eps": 0.1}),
    "center that is an integer": ("covariance_sqrt", (X,), {"center": 1}),
    "root of features without locations": ("covariance_sqrt", (X[:, :0],), {}),
    "unknown form of the norm": ("l2_normalize", (X,), {"norm": "max"}),
    "vector of nothing": ("l2_normalize", (X[..., :0],), {}),
}


def expected_error(mistake: str) -> Exception:
    """Return the error that the reference raises."""
    error = _error_of(REFERENCE, mistake)
    assert error is not None, f"the reference accepts {mistake}"
    return error


def check_refusal(driver: Driver, mistake: str) -> None:
    """Check that the driver raises the same error, with the reference's message in its message."""
    __tracebackhide__ = True
    expected, error = expected_error(mistake), _error_of(driver, mistake)
    what = f"{BAD[mistake][0]} on {driver.name}, {mistake}: expected {expected}"
    assert error is not None, f"{what}; it was accepted"
    as_expected = isinstance(error, type(expected)) and str(expected) in str(error)
    assert as_expected, f"{what}; got {type(error).__name__}: {error}"


def _error_of(driver: Driver, mistake: str) -> Exception | None:
    try:
        driver.value(*BAD[mistake])
    except Exception as error:  # the caller checks the type
        return error
    return None
