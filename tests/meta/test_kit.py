"""The test kit itself: declarations of drivers, messages of failures, and the example."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilinear import reference
from bilinear.testing import DTYPES, OPS, REFERENCE, Case, Driver, battery
from bilinear.testing.bounds import Bounded, exact, gamma
from bilinear.testing.cases import normal
from bilinear.testing.lattices import assert_quotients
from bilinear.testing.linearization import propagate
from bilinear.testing.parity import check_against_each_other, check_against_reference
from bilinear.testing.reproduce import HEADING, literal, run, snippet

from ..canaries import FORWARD

ROOT = Path(__file__).parents[2]
POOR = Driver("poor", REFERENCE.forward, operators=("signed_sqrt",), dtypes=("float32",))


def rows_of(*drivers: Driver) -> dict[str, list[str]]:
    """Return the tests of a battery by name, with the ids of their rows."""
    tests = {k: v for k, v in vars(battery(*drivers)).items() if k.startswith("test_")}
    return {name: test.__func__.pytestmark[0].kwargs["ids"] for name, test in tests.items()}


def test_a_complete_driver_covers_everything() -> None:
    jvps = {"forward": lambda op, tangents, arrays, options: None}
    whole = Driver(
        "whole", REFERENCE.forward, REFERENCE.vjp, jvps, FORWARD.layer,
        modes=("eager", "compiled"), refuses=True,
    )  # fmt: skip
    assert "test_not_covered" not in rows_of(whole)


def test_what_a_driver_omits_is_reported() -> None:
    tests = rows_of(POOR)
    assert set(tests) == {"test_random_cases", "test_edges", "test_not_covered"}
    assert tests["test_random_cases"] == ["poor-signed_sqrt-float32"]
    left_out = " ".join(tests["test_not_covered"])
    words = ("outer_pool", "float64", "gradients", "jvps", "BilinearPool", "compilers", "refusals")
    assert all(word in left_out for word in words)


def test_backends_are_compared_where_both_have_the_operator() -> None:
    assert rows_of(POOR, REFERENCE)["test_each_other"] == ["all-signed_sqrt-float32"]


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"operators": ("pool",)}, r"operators must be some of \(.*outer_.*\); got \('pool',\)"),
        ({"operators": "outer_pool"}, "operators must be some of .*; got 'outer_pool'. Name those"),
        ({"dtypes": ("packed",)}, "dtypes must be some of"),
        ({"dtypes": ()}, r"dtypes must be some of .*; got \(\)"),
        ({"modes": ("xla",)}, r"the first of modes must be 'eager'; got \('xla',\)"),
    ],
)
def test_a_driver_of_the_unknown_is_refused(mistake: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"Driver: {sentence}"):
        Driver("mine", REFERENCE.forward, **mistake)


def test_a_battery_needs_backends_of_different_names() -> None:
    for drivers in ((), (REFERENCE, REFERENCE)):
        with pytest.raises(ValueError, match="it needs drivers of different names; got"):
            battery(*drivers)


@pytest.mark.parametrize("returned", [None, [1.0], 1.0])
def test_results_must_be_arrays(returned: object) -> None:
    driver = Driver("mine", lambda *a: returned, lambda *a: returned)
    kind = type(returned).__name__
    with pytest.raises(TypeError, match=f"mine: forward must return NumPy arrays; got a {kind}. "):
        driver.value("signed_sqrt", (np.ones(2),), {})
    with pytest.raises(TypeError, match=r"mine: vjp must return (one gradient|NumPy arrays)"):
        driver.gradients("signed_sqrt", np.ones(2), (np.ones(2),), {})


def test_a_backend_cannot_change_the_inputs_of_others() -> None:
    """A backend gets copies of the inputs."""

    def forward(op, arrays, options):
        arrays[0].flags.writeable = True
        arrays[0][...] = 0
        return REFERENCE.forward(op, arrays, options)

    case = Case((normal("float64", 2, 3, 4),))
    with pytest.raises(AssertionError, match="outside the bound"):
        run(check_against_reference, Driver("mine", forward), "outer_pool", case, None)
    assert case.arrays[0].all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_arguments_are_reproduced_exactly(dtype: str, data: st.DataObject) -> None:
    case = data.draw(OPS["bilinear_pool"].cases(dtype))
    again = eval(literal(case), {"np": np, "Case": Case, "nan": np.nan, "inf": np.inf})
    assert again.options.keys() == case.options.keys()
    for name, value in case.options.items():
        np.testing.assert_array_equal(again.options[name], value)
    for a, b in zip(again.arrays, case.arrays, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.size < 2 or a.flags.c_contiguous == b.flags.c_contiguous
        np.testing.assert_array_equal(a.tobytes(), b.tobytes())


def test_the_message_and_the_code_of_a_failure() -> None:
    """The message gives the worst entry, and the code runs in a new process."""
    case, cotangent = Case((normal("bfloat16", 2, 3, 4),)), normal("bfloat16", 2, 4, 4)
    with pytest.raises(AssertionError, match="outside the bound") as failure:
        run(check_against_reference, FORWARD, "outer_pool", case, cotangent, label="mine")
    pattern = (
        r"outer_pool on canary of forward \(bfloat16, eager, mine\): \d+ of 32 outside the bound, "
        r"worst at \(\d, \d, \d\): got .*, expected .* ± .* "
        r"\(the error is .* × the bound, 2 is allowed\)"
    )
    assert re.fullmatch(pattern, str(failure.value))
    lines = failure.value.snippet  # type: ignore[attr-defined]
    assert "from tests.canaries import FORWARD as driver" in lines
    again = python("-c", lines)
    assert str(failure.value) in again.stderr


TEST_FILE = """
from bilinear.testing import REFERENCE, Driver, battery

def forward(op, arrays, options):
    return REFERENCE.forward(op, arrays, options) * (1 + 1e-3 * (op == "outer_pool"))

TestMine = battery(Driver("mine", forward, operators=("outer_pool",), dtypes=("float32",)))
"""


@pytest.mark.parametrize("plugin", [True, False])
def test_report_of_a_custom_backend(tmp_path: Path, plugin: bool) -> None:
    """The report shows failures, code that reproduces them, and what is not covered."""
    (tmp_path / "test_mine.py").write_text(TEST_FILE)
    options = ["-q", "-k", "random_cases or not_covered", "-p", "no:cacheprovider"]
    options += ["-p", "bilinear.testing.plugin"] if plugin else ["-rs"]
    seen = python("-m", "pytest", *options, "test_mine.py", folder=tmp_path).stdout
    assert "1 failed" in seen
    assert re.search(r"outer_pool on mine \(float32, eager, draw\): \d+ of \d+ outside", seen)
    assert "mine, operator signed_sqrt" in seen
    assert "mine, gradients (no vjp)" in seen
    lines = seen.partition(HEADING)[2].partition("import numpy")[2].partition("\n)\n")[0]
    assert "from test_mine import TestMine" in lines
    if plugin:  # the plugin prints the code in its own section
        again = python("-c", f"import numpy{lines}\n)", folder=tmp_path)
        assert "AssertionError: outer_pool on mine" in again.stderr


def python(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_snippet_imports_every_driver() -> None:
    case, cotangent = Case((normal("float32", 1, 2, 2),)), normal("float32", 1, 2, 2)
    drivers = [REFERENCE, Driver("nowhere", REFERENCE.forward)]
    lines = snippet(check_against_each_other, drivers, "outer_pool", case, cotangent)
    assert "REFERENCE as driver\n" in lines
    assert "driver_1 = ...  # the Driver called 'nowhere'" in lines
    ast.parse(lines)


def in_tf32(x: np.ndarray) -> np.ndarray:
    """Round `x` to the 11 significant bits of TensorFloat-32."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_of_tensorfloat32(seed: int) -> None:
    """Products of rounded factors are within these bounds, and outside those of float32."""

    def forward(op, arrays, options):
        return reference.outer_pool(*map(in_tf32, arrays), **options).astype(np.float32)

    def vjp(op, cotangent, arrays, options):
        rounded = in_tf32(cotangent), *map(in_tf32, arrays)
        return [g.astype(np.float32) for g in reference.outer_pool_vjp(*rounded, **options)]

    case = Case((normal("float32", 2, 6, 3, seed=seed), normal("float32", 2, 6, 4, seed=seed + 9)))
    cotangent = normal("float32", 2, 3, 4, seed=seed + 5)
    gpu = Driver("gpu", forward, vjp, tf32=True)
    check_against_reference(gpu, "outer_pool", case, cotangent, record=False)
    with pytest.raises(AssertionError, match="outside the bound"):
        check_against_reference(Driver("cpu", forward, vjp), "outer_pool", case, cotangent)


def test_the_example_is_short_and_uses_only_the_kit() -> None:
    path = ROOT / "examples" / "test_array_api.py"
    if not path.is_file():
        pytest.skip("the examples are not installed")
    assert len(path.read_text().splitlines()) < 40
    tree = ast.parse(path.read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [m for m in modules if m and m.startswith("bilinear")] == ["bilinear.testing"]


def test_the_error_without_hypothesis() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import bilinear.testing"
    failed = python("-c", code)
    sentence = (
        "ImportError: bilinear.testing needs hypothesis, not installed here; "
        "pip install 'bilinear[testing]' installs what it needs.\n"
    )
    assert failed.stderr.endswith(sentence)


def test_assert_quotients() -> None:
    """Quotients must be exact if Z is a power of two, else within 2 ulp."""
    exact, quarter = np.array([[5]]), np.array([[1.25]], np.float32)
    assert_quotients(quarter, exact, [4], "float32", "")
    third = np.array([[5 / 3]], np.float32)
    assert_quotients(third, exact, [3], "float32", "")
    whole = np.nextafter(np.array([[3]], np.float32), 4)
    assert_quotients(whole, np.array([[21]]), [7], "float32", "")
    wrong = [(np.nextafter(quarter, 2), 4), (third + 3 * np.spacing(third), 3), (third * np.nan, 3)]
    for values, z in wrong:
        with pytest.raises(AssertionError, match=r"mine: worst at \(0, 0\): got .*, expected 5 / "):
            assert_quotients(values, exact, [z], "float32", "mine")
    with pytest.raises(AssertionError, match="dtype float32, expected float16"):
        assert_quotients(quarter, exact, [4], "float16", "mine")


def test_propagated_bounds_are_at_most_the_chained_bounds() -> None:
    """Both are equal for one product. For more steps, linearisation counts each error once."""

    def gram(r, x):
        return r.einsum("...lc,...ld->...cd", x, x)

    def twice(r, x):
        g = gram(r, x)
        return g, r.einsum("...cd,...de->...ce", g, g)

    x = normal("float64", 2, 3, 2).astype(np.longdouble)
    one, two = propagate(twice, [exact(x)], "float32")
    size = np.einsum("nlc,nld->ncd", np.abs(x), np.abs(x))
    np.testing.assert_allclose(one.error, gamma(3, "float32") * size)
    carried = one.error @ np.abs(one.value) + np.abs(one.value) @ one.error
    chained = carried + gamma(2, "float32") * np.abs(one.value) @ np.abs(one.value)
    assert (two.error <= chained * (1 + 1e-12)).all()
    assert (two.error > chained / 4).all()
    moved = propagate(gram, [Bounded(x, 1e-3 * np.abs(x))], "float64")
    assert (moved.error > 1e-3 * np.abs(moved.value)).all()
    lost = propagate(gram, [Bounded(x, np.where(x == x[0, 0, 0], np.inf, 0))], "float64")
    assert np.isinf(lost.error).sum() == 3  # its row and column


def test_random_cases_reach_the_singular_points() -> None:
    rows = []

    @settings(max_examples=100)
    @given(case=OPS["bilinear_pool"].cases("float32"))
    def look(case: Case) -> None:
        x = case.arrays[0]
        rows.append(
            {
                "empty": x.shape[0] == 0,
                "two streams": len(case.arrays) == 2,
                "C ≠ D": x.shape[2] != case.arrays[-1].shape[2],
                "dead": x.size and not x[..., 0].any(),
                "transposed": x.size > 1 and not x.flags.c_contiguous,
                "mask": "mask" in case.options,
                "eps 0": case.options["eps"] == 0,
                "one location": x.shape[1] == 1,
                "mixed signs": x.size and x.min() < 0 < x.max(),
            }
        )

    look()
    assert [name for name in rows[0] if not any(row[name] for row in rows)] == []
