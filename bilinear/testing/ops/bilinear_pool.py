"""`bilinear_pool`: the bounds of its three steps, chained."""

from hypothesis import strategies as st

from ..bounds import Bounded
from ..cases import Case, pooling_cases, pooling_edges, pooling_smooth
from ..operators import Chain, operator, reshape, root_and_norm, step
from .l2_normalize import FLOORS
from .signed_sqrt import EPS


@st.composite
def cases(draw, dtype: str) -> Case:
    """Full or packed descriptors. Other forms of root and norm are drawn for their operators."""
    case = draw(pooling_cases(dtype, {"eps": EPS, "l2_eps": FLOORS}))
    packed = len(case.arrays) == 1 and draw(st.booleans())
    return Case(case.arrays, case.options | ({"packed": True} if packed else {}))


def edges(dtype: str) -> dict[str, Case]:
    plain = pooling_edges(dtype)
    dead = plain["non-square"].arrays[0].copy()
    dead[..., 1] = 0
    caffe = {"reduction": "sum", "eps": 0.0, "slope_eps": 0.03, "norm": "added", "l2_eps": 1e-7}
    return plain | {
        "dead channel without eps": Case((dead,), {"eps": 0.0}),
        "below the floor": Case((dead,), {"l2_eps": 1e3}),
        "packed": Case((dead,), {"packed": True}),
        "packed, published form": Case((dead,), {"packed": True} | caffe),
        "packed, shifted root": Case((dead,), {"packed": True, "root": "shifted"}),
        "packed, empty batch": Case((dead[:0],), {"packed": True}),
        "published slope at a dead channel": Case((dead,), caffe),
        "unsigned root of features >= 0": Case((abs(dead),), {"root": "unsigned", "eps": 1e-5}),
    }


def smooth(dtype: str) -> list[Case]:
    plain = pooling_smooth(dtype)
    forms = {"packed": True, "root": "shifted", "eps": 1e-2, "norm": "added", "l2_eps": 0.5}
    return [*plain, Case(plain[0].arrays, {"packed": True}), Case(plain[0].arrays, forms)]


def forward(case: Case, acc: str) -> Bounded:
    return _chain(case).value(acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    return list(_chain(case).gradients(ct, acc))


def _chain(case: Case) -> Chain:
    x, y = case.arrays[0], case.arrays[-1]
    flatten = reshape((len(x), x.shape[2] * y.shape[2]))
    if case.options["packed"]:
        flatten = step("half_vectorize", {})
    pooled = operator("outer_pool", case.arrays, case.options)
    return Chain(pooled, root_and_norm(case.options, flatten))
