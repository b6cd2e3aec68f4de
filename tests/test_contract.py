"""Bad input: every door raises the contract's own sentence, before any compute."""

import re

import numpy as np
import pytest

from bilinear import reference

from .subjects import PRESENT, driver

over_backends = pytest.mark.parametrize("backend", PRESENT)

X = np.ones((2, 4, 3), np.float32)
Y = np.ones((2, 4, 5), np.float32)
KEEP = np.ones((2, 4), bool)

BAD = {
    "rank": ("outer_pool", (X[0],), {}),
    "no location": ("outer_pool", (X[:, :0],), {}),
    "no channel": ("bilinear_pool", (X[:, :, :0],), {}),
    "no channel in y": ("bilinear_pool", (X, Y[:, :, :0]), {}),
    "two batches": ("outer_pool", (X, Y[:1]), {}),
    "two numbers of locations": ("bilinear_pool", (X, Y[:, :3]), {}),
    "integers": ("outer_pool", (X.astype(np.int32),), {}),
    "complex": ("signed_sqrt", (X.astype(np.complex64),), {}),
    "two dtypes": ("bilinear_pool", (X, Y.astype(np.float64)), {}),
    "mask of numbers": ("outer_pool", (X,), {"mask": KEEP.astype(np.float32)}),
    "mask of another shape": ("bilinear_pool", (X,), {"mask": KEEP[:, :3]}),
    "unknown reduction": ("outer_pool", (X,), {"reduction": "max"}),
    "negative eps": ("signed_sqrt", (X,), {"eps": -1e-10}),
    "vanishing eps": ("signed_sqrt", (X,), {"eps": 1e-60}),
    "eps that is NaN": ("bilinear_pool", (X,), {"eps": float("nan")}),
    "eps that is a list": ("signed_sqrt", (X,), {"eps": [1e-10]}),
    "eps that is a boolean": ("l2_normalize", (X,), {"eps": True}),
    "zero floor": ("l2_normalize", (X,), {"eps": 0.0}),
    "vanishing floor": ("bilinear_pool", (X,), {"l2_eps": 1e-60}),
    "vector of nothing": ("l2_normalize", (X[..., :0],), {}),
}


@over_backends
@pytest.mark.parametrize("mistake", BAD)
def test_operators_refuse_in_the_words_of_the_contract(backend: str, mistake: str) -> None:
    op, arrays, options = BAD[mistake]
    with pytest.raises((ValueError, TypeError)) as expected:
        getattr(reference, op)(*arrays, **options)
    sentence = str(expected.value)
    assert sentence.startswith(f"{op}: ")
    assert "; got " in sentence
    with pytest.raises(expected.type) as raised:
        driver(backend).forward(op, arrays, options)
    assert sentence in str(raised.value)


@over_backends
@pytest.mark.parametrize("mistake", ["two numbers of locations", "integers", "zero floor"])
def test_compiled_operators_refuse_too(backend: str, mistake: str) -> None:
    """Frameworks wrap the error of traced code: theirs contains our sentence."""
    op, arrays, options = BAD[mistake]
    with pytest.raises((ValueError, TypeError)) as expected:
        getattr(reference, op)(*arrays, **options)
    invariant = str(expected.value).partition("; got ")[0]
    # Dynamo cannot put into words a number that it saw change in an earlier call
    getattr(driver(backend), "forget", lambda: None)()
    for mode in driver(backend).modes[1:]:
        with pytest.raises(Exception, match=re.escape(invariant)):
            driver(backend).forward(op, arrays, options, mode=mode)


@over_backends
def test_layers_refuse_maps_of_equal_size_but_not_equal_shape(backend: str) -> None:
    maps = np.ones((1, 2, 6, 3), np.float32), np.ones((1, 3, 4, 5), np.float32)
    for layout in driver(backend).layouts:
        with pytest.raises(ValueError, match="BilinearPool: x and y must describe the same") as e:
            driver(backend).layer(np.ones((1, 15)), maps, layout=layout)
        shapes = ["x (1, 2, 6, 3) and y (1, 3, 4, 5)", "x (1, 3, 2, 6) and y (1, 5, 3, 4)"]
        assert any(shape in str(e.value) for shape in shapes)


@over_backends
def test_layers_refuse_when_they_are_made(backend: str) -> None:
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum'"):
        driver(backend).pool(reduction="max")
    with pytest.raises(ValueError, match="l2_eps must be a normal positive number"):
        driver(backend).pool(l2_eps=0.0)


@over_backends
def test_other_than_arrays_are_refused(backend: str) -> None:
    with pytest.raises(TypeError, match="must be"):
        driver(backend).refused_kind()
