"""What holds of bilinear pooling whatever computes it: laws, on the reference and every backend.

A law equates two computations of one subject. Each may be as far from the truth as its derived
bound says (`bounds.py`), so they differ by at most the sum of both, times `SLACK`. Where an
identity needs new inputs (sums, products with a matrix), these are drawn from multiples of 1/16
so that they are exact. All in float64; `test_parity` has the other dtypes.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bilinear import reference

from .bounds import Bounded, gamma
from .closeness import assert_rounded
from .ops._cases import Case, seeded
from .subjects import OPS, PRESENT, driver
from .tolerances import SLACK, SMALLEST

POOLED = ["outer_pool", "bilinear_pool"]
on_all = pytest.mark.parametrize("subject", ["reference", *PRESENT])
of_pools = pytest.mark.parametrize("op", POOLED)


def compute(subject: str, op: str, case: Case) -> Bounded:
    """What the subject makes of a case, and how far that may be from the truth."""
    if subject == "reference":
        value = getattr(reference, op)(*case.arrays, **case.options)
    else:
        value = driver(subject).forward(op, case.arrays, case.options)
    return Bounded(np.asarray(value), OPS[op].forward(case).error)


def assert_same(left: Bounded, right: Bounded) -> None:
    __tracebackhide__ = True
    assert left.value.shape == right.value.shape
    margin = SLACK * (left.error + right.error + SMALLEST["float64"])
    off = np.abs(left.value - right.value)
    assert (off <= margin).all(), f"{left.value} is not {right.value}: allowed {margin}, is {off}"


def linear(bounded: Bounded, left: np.ndarray, right: np.ndarray) -> Bounded:
    """``leftᵀ G right`` with the errors of G carried over and those of the two products."""
    value = left.T @ bounded.value @ right
    size = np.abs(left).T @ np.abs(bounded.value) @ np.abs(right)
    carried = np.abs(left).T @ bounded.error @ np.abs(right)
    return Bounded(value, carried + gamma(left.shape[0] + right.shape[0], "float64") * size)


def sixteenths(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.int64, shape, elements=st.integers(-64, 64)).map(lambda a: a / 16)


def at_locations(case: Case, index) -> Case:
    """The case on the locations `index` alone, or in that order."""
    options = {k: v[:, index] if k == "mask" else v for k, v in case.options.items()}
    return Case(tuple(a[:, index] for a in case.arrays), options)


@on_all
@of_pools
@given(data=st.data())
def test_the_order_of_locations_does_not_matter(op: str, subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS[op].cases("float64"))
    order = data.draw(st.permutations(range(case.arrays[0].shape[1])))
    assert_same(compute(subject, op, case), compute(subject, op, at_locations(case, list(order))))


@on_all
@given(data=st.data())
def test_pooling_is_linear_in_each_stream(subject: str, data: st.DataObject) -> None:
    x, more, y = (data.draw(sixteenths(2, 3, size)) for size in (4, 4, 2))
    factor = data.draw(st.sampled_from([-2.0, 0.5, 3.0]))
    reduction = {"reduction": data.draw(st.sampled_from(["mean", "sum"]))}
    for first in (True, False):

        def pooled(a: np.ndarray, *, first: bool = first) -> Bounded:
            case = Case((a, y) if first else (y, a), reduction)
            return compute(subject, "outer_pool", case)

        one, two = pooled(x), pooled(more)
        value = factor * one.value + two.value
        rounding = gamma(2, "float64") * (np.abs(factor * one.value) + np.abs(two.value))
        error = abs(factor) * one.error + two.error + rounding
        assert_same(pooled(factor * x + more), Bounded(value, error))


@on_all
@given(data=st.data())
def test_exchanging_the_streams_transposes(subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS["outer_pool"].cases("float64").filter(lambda c: len(c.arrays) == 2))
    exchanged = compute(subject, "outer_pool", Case(case.arrays[::-1], case.options))
    transposed = Bounded(*(part.swapaxes(1, 2) for part in exchanged))
    assert_same(compute(subject, "outer_pool", case), transposed)


@on_all
@given(data=st.data())
def test_mixing_channels_mixes_the_matrix(subject: str, data: st.DataObject) -> None:
    """``pool(XU, YV) = Uᵀ pool(X, Y) V``."""
    x, y, u, v = (data.draw(sixteenths(*s)) for s in ((1, 3, 4), (1, 3, 2), (4, 3), (2, 5)))
    mixed = compute(subject, "outer_pool", Case((x @ u, y @ v)))
    plain = compute(subject, "outer_pool", Case((x, y)))
    expected = linear(Bounded(plain.value[0], plain.error[0]), u, v)
    assert_same(Bounded(mixed.value[0], mixed.error[0]), expected)


@on_all
@given(data=st.data())
def test_one_stream_is_symmetric_and_positive_semidefinite(
    subject: str, data: st.DataObject
) -> None:
    case = data.draw(OPS["outer_pool"].cases("float64").filter(lambda c: len(c.arrays) == 1))
    g = compute(subject, "outer_pool", case)
    assert_same(g, Bounded(*(part.swapaxes(1, 2) for part in g)))
    for value, error in zip(g.value, g.error.astype(np.float64), strict=True):
        # an eigenvalue moves by at most the norm of what is added; eigvalsh errs by some C · u
        allowed = np.linalg.norm(error) + gamma(8 * len(value), "float64") * np.linalg.norm(value)
        assert np.linalg.eigvalsh((value + value.T) / 2).min() >= -SLACK * allowed


@on_all
@given(data=st.data())
def test_descriptors_have_unit_length_above_the_floor(subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS["bilinear_pool"].cases("float64"))
    floor = case.options["l2_eps"]
    result = compute(subject, "bilinear_pool", case).value
    pooled = reference.outer_pool(*case.arrays, **_of_the_pool(case)).reshape(result.shape)
    raw = np.linalg.norm(reference.signed_sqrt(pooled, eps=case.options["eps"]), axis=1)
    norms = np.linalg.norm(result, axis=1)
    above, below = norms[raw > 2 * floor], norms[raw < floor / 2]
    if above.size:
        assert_rounded(above, 1, result.shape[1] + 8)
    assert (below < 1).all()


@on_all
@given(data=st.data())
def test_scale_does_not_matter_without_eps(subject: str, data: st.DataObject) -> None:
    arrays = [
        data.draw(sixteenths(2, 3, size)) for size in data.draw(st.sampled_from([(3,), (3, 2)]))
    ]
    options = {"eps": 0.0, "l2_eps": 1e-12}
    scaled = [a * data.draw(st.sampled_from([0.25, 3.0, 1024.0])) for a in arrays]
    plain = compute(subject, "bilinear_pool", Case(tuple(arrays), options))
    assert_same(plain, compute(subject, "bilinear_pool", Case(tuple(scaled), options)))


@on_all
@of_pools
@given(data=st.data())
def test_samples_do_not_meet(op: str, subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS[op].cases("float64"))
    whole = compute(subject, op, case)
    for n in range(case.arrays[0].shape[0]):
        alone = {k: v[n : n + 1] if k == "mask" else v for k, v in case.options.items()}
        single = Case(tuple(a[n : n + 1] for a in case.arrays), alone)
        part = Bounded(whole.value[n : n + 1], whole.error[n : n + 1])
        assert_same(part, compute(subject, op, single))


@on_all
@of_pools
@given(data=st.data())
def test_a_mask_drops_locations(op: str, subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS[op].cases("float64").filter(lambda c: "mask" in c.options))
    whole = compute(subject, op, case)
    plain = {k: v for k, v in case.options.items() if k != "mask"}
    for n, keep in enumerate(case.options["mask"]):
        part = Bounded(whole.value[n : n + 1], whole.error[n : n + 1])
        if keep.any():
            dropped = Case(tuple(a[n : n + 1, keep] for a in case.arrays), plain)
            assert_same(part, compute(subject, op, dropped))
        else:
            assert not part.value.any()


@on_all
@of_pools
@given(data=st.data())
def test_a_mean_does_not_count_repetitions(op: str, subject: str, data: st.DataObject) -> None:
    case = data.draw(OPS[op].cases("float64"))
    assume(case.options["reduction"] == "mean")
    locations = list(range(case.arrays[0].shape[1]))
    twice = at_locations(case, locations * 2)
    assert_same(compute(subject, op, case), compute(subject, op, twice))


@on_all
@given(data=st.data())
def test_the_norm_of_the_roots_has_a_closed_form(subject: str, data: st.DataObject) -> None:
    """Without eps, of non-negative features: ``‖signed_sqrt(G)‖² = (1/L) Σ_l (Σ_c x_lc)²``."""
    x = np.abs(data.draw(sixteenths(2, 5, 3)))
    pooled = compute(subject, "outer_pool", Case((x,))).value.reshape(2, 9)
    roots = compute(subject, "signed_sqrt", Case((pooled,), {"eps": 0.0})).value
    expected = np.mean(x.sum(2) ** 2, axis=1)
    assert_rounded(np.sum(roots**2, axis=1), expected, 9 + 5 + 3 + 4)


@pytest.mark.parametrize("backend", PRESENT)
def test_layouts_of_a_layer_agree(backend: str) -> None:
    x, y = seeded("float64", 2, 3, 4, 5), seeded("float64", 2, 3, 4, 2, seed=1)
    if len(driver(backend).layouts) < 2:
        pytest.skip("it has one layout")
    cotangent = seeded("float64", 2, 10, seed=2)
    case = Case((x.reshape(2, 12, 5), y.reshape(2, 12, 2)))
    errors = [b.error for b in (OPS["bilinear_pool"].forward(case), *_vjp_bounds(case, cotangent))]
    first, *others = (
        driver(backend).layer(cotangent, (x, y), layout=layout)
        for layout in driver(backend).layouts
    )
    for other in others:
        pairs = zip([first[0], *first[1]], [other[0], *other[1]], errors, strict=True)
        for a, b, error in pairs:
            flat = error.reshape(a.shape)
            assert_same(Bounded(a, flat), Bounded(b, flat))


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize("op", OPS)
def test_forward_and_reverse_are_adjoint(op: str, backend: str) -> None:
    """``⟨γ, J v⟩ = ⟨Jᵀ γ, v⟩``, by every way of the framework to take ``J v``."""
    d = driver(backend)
    for case in smooth(op):
        cotangent = seeded("float64", *OPS[op].output_shape(case), seed=5)
        tangents = [seeded("float64", *a.shape, seed=6 + i) for i, a in enumerate(case.arrays)]
        gradients = d.vjp(op, cotangent, case.arrays, case.options)
        pulled = sum(float(np.sum(g * v)) for g, v in zip(gradients, tangents, strict=True))
        size = sum(
            float(np.sum((np.abs(g.value) + g.error) * np.abs(v)))
            for g, v in zip(OPS[op].vjp(case, cotangent), tangents, strict=True)
        )
        error = sum(
            float(np.sum(g.error * np.abs(v)))
            for g, v in zip(OPS[op].vjp(case, cotangent), tangents, strict=True)
        )
        for name, jvp in d.jvps.items():
            pushed = float(np.sum(cotangent * d.call(jvp, op, case.options, case.arrays, tangents)))
            # J v rounds as Jᵀ γ does, with the roles of the sums exchanged
            margin = 2 * SLACK * (error + gamma(64, "float64") * size)
            assert abs(pushed - pulled) <= margin, f"{op} on {backend}, {name}: {pushed}, {pulled}"


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize("op", OPS)
def test_the_frameworks_own_checks_pass(op: str, backend: str) -> None:
    """First and second derivatives against differences: gradcheck, gradgradcheck and the like."""
    for case in smooth(op):
        for check in driver(backend).checks.values():
            driver(backend).call(check, op, case.options, case.arrays)


def smooth(op: str) -> list[Case]:
    """Cases away from every hard point, where derivatives of all orders exist."""
    x, y = (
        np.abs(seeded("float64", 2, 3, 4)) + 0.5,
        np.abs(seeded("float64", 2, 3, 2, seed=1)) + 0.5,
    )
    if op in POOLED:
        return [Case((x,)), Case((x, y), {"mask": np.array([[True, False, True], [True] * 3])})]
    return [Case((x,))]


def _vjp_bounds(case: Case, cotangent: np.ndarray) -> list[Bounded]:
    return OPS["bilinear_pool"].vjp(case, cotangent)


def _of_the_pool(case: Case) -> dict:
    return {k: v for k, v in case.options.items() if k in ("mask", "reduction")}
