"""Bad input where the battery does not look: compiled operators, layers, foreign objects."""

import re

import numpy as np
import pytest

from bilinear.testing.refusals import BAD, expected_error

from ..subjects import PRESENT, driver

over_backends = pytest.mark.parametrize("backend", PRESENT)


@pytest.mark.parametrize("mistake", BAD)
def test_every_refusal_says_what_is_wanted_and_what_was_received(mistake: str) -> None:
    sentence = str(expected_error(mistake))
    assert sentence.startswith(f"{BAD[mistake][0]}: ")
    assert "; got " in sentence
    assert sentence.endswith(".")


@over_backends
@pytest.mark.parametrize("mistake", ["two counts of locations", "integers", "zero floor"])
def test_compiled_operators_refuse_too(backend: str, mistake: str) -> None:
    """Frameworks wrap the error of traced code: theirs contains our sentence."""
    op, arrays, options = BAD[mistake]
    invariant = str(expected_error(mistake)).partition("; got ")[0]
    # Dynamo cannot put into words a number that it saw change in an earlier call
    getattr(driver(backend), "reset_compiler", lambda: None)()
    for mode in driver(backend).modes[1:]:
        with pytest.raises(Exception, match=re.escape(invariant)):
            driver(backend).forward(op, arrays, options, mode=mode)


@over_backends
def test_layers_refuse_maps_of_equal_size_but_not_equal_shape(backend: str) -> None:
    maps = np.ones((1, 2, 6, 3), np.float32), np.ones((1, 3, 4, 5), np.float32)
    for layout in driver(backend).layouts:
        with pytest.raises(ValueError, match="BilinearPool: x and y must describe the same") as e:
            driver(backend).layer("BilinearPool", np.ones((1, 15)), maps, layout=layout)
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
        driver(backend).call_with_wrong_type()
