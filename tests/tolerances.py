"""The tolerances of finite differences and of whole networks, with their reasons.

The bounds of operators are derived from the inputs (`bilinear.testing`). For whole networks, such
bounds would be too large to be useful: `LOGITS` and `GRADIENTS` are statistical estimates.
"""

from bilinear.models.export import ROUNDINGS
from bilinear.testing.tolerances import UNIT_ROUNDOFF

STEP = 1e-7
"""Step of central differences in extended precision with roundoff 5e-20. They err by about STEP²
times the third derivative (1e-14, times the growth of derivatives near 0) plus 5e-20 / STEP."""

DERIVATIVE = {"float64": 1e-8, "bfloat16": 2.0**-8}
"""Tolerance of a derivative against these differences, relative to the largest entry. The test
points are so far from 0 that derivatives grow by less than 1e6. bfloat16 is computed in float32 and
rounded once, by at most 2⁻⁹; twice that includes the float32 roundings."""

COARSE_DIFFERENCES = 1e-5
"""Tolerance of a derivative against TensorFlow's central differences in float64 with step 2⁻¹⁰.
They err by step² / 6 = 1.6e-7 times the third derivative, which is below 50 at the test points."""

COMPLEX_STEP = 1e-12
"""Tolerance of a float64 gradient against the complex step, which has no cancellation: about fifty
roundings in each, amplified by slopes of the root below 100 at the test points."""

LOGITS = {dtype: ROUNDINGS * u for dtype, u in UNIT_ROUNDOFF.items()}
"""Largest ‖difference‖₂ / ‖value‖₂ of logits or BatchNorm statistics between two computations of
the same network (`bilinear.models.export.ROUNDINGS`). float64 1.5e-13, float32 8e-5."""

ROOT_SLOPE = 5e4
"""Largest slope of the signed root, 1 / (2 √eps) at the default eps. It bounds how much the
backward pass amplifies errors at descriptor entries near 0."""

GRADIENTS = {dtype: ROOT_SLOPE * error for dtype, error in LOGITS.items() if dtype == "float64"}
"""The same for gradients: 7.5e-9 in float64. There is none for float32, where a ReLU whose argument
is within rounding of 0 may be on or off, which changes the gradient by a whole term."""

SPREAD = 8
"""Largest ratio of a framework's float32 error to the largest error of the others. Their sums
differ in order and blocking, and a blocked sum has a smaller error than a sequential one."""

RUN = 20 * GRADIENTS["float64"]
"""Largest ‖difference‖₂ / ‖change since the start‖₂ of a parameter of two float64 runs after 20
steps (of a momentum buffer: relative to its value). The gradient of each step errs by `GRADIENTS`.
The learning rate is so small that later steps do not amplify these errors. 1.5e-7; a momentum that
includes the learning rate, for example, errs by 1."""

EARLY_RUN = {
    "statistics": LOGITS["float32"],
    "parameters": LOGITS["float32"] ** 0.5,
    "momenta": LOGITS["float32"] ** 0.5,
}
"""The same for all tensors of one kind in two float32 runs after each of the first three steps. A
fraction `LOGITS` of the ReLUs has an argument within its error of 0 and may be on or off. This
fraction of the squared gradient is lost: 9e-3 of the gradient, or √(20 √4608 / u) u = 1.5e5 u."""

SELF_DIVERGENCE = 10
"""Largest ratio of the difference between two frameworks' float32 runs to that between two runs of
one framework, in one of which images and parameters change by an ulp at every step. A step rounds
each parameter once but sums its gradient over thousands of terms, so that either difference may be
larger. Both grow equally fast. The same for a pass of a deep network with BatchNorm in float64."""

RECOMPUTED = {"rtol": 1e-5, "atol": 1e-6}
"""Tolerance of float32 results of a small layer by two programs (eager, compiled, reloaded, vmap).
Each errs by about forty roundings, 2.4e-6, relative to entries of unit vectors or to terms."""

PROJECTED = {"rtol": 1e-5, "atol": 1e-5}
"""Tolerance of float32 projections and their gradients against NumPy: sums of up to 24 products,
which may cancel. 24 roundings of a sum of 5 are 7e-6."""

PEAK = {
    "torch": {
        "float32": (2.0, 1.5),
        "bfloat16": (2.0, 2.25),
        "float32, packed": (2.0, 2.0),
        "bfloat16, packed": (2.0, 2.75),
    },
    "tensorflow": {
        "float32": (3.25, 2.25),
        "bfloat16": (3.25, 2.75),
        "float32, packed": (4.0, 2.0),
        "bfloat16, packed": (3.5, 2.0),
    },
    "jax": {
        "float32": (2.0, 3.5),
        "bfloat16": (2.5, 4.0),
        "float32, packed": (3.25, 3.75),
        "bfloat16, packed": (3.25, 4.5),
    },
}
"""Largest peak memory of `bilinear_pool` (forward pass, both passes), divided by the bytes of input
and output (and of their cotangents) in the accumulation dtype. It is about half the number of
matrices of the size of the output that are alive at once. PyTorch has the output and a temporary,
then the output, the slope and a temporary; for packed descriptors the slope is a full matrix, which
is as large as two outputs. TensorFlow has three and four in a graph (two with XLA). JAX has two, or
up to seven because XLA fuses no transposes. Both read packed descriptors from a full matrix.
Half-precision dtypes add the upcast arrays and the result or cotangent before rounding, half a
matrix to three."""

PEAK_SLACK = 4 * 2**20
"""Bytes of a process besides its arrays (code, allocators, stacks): one MiB, four on a busy system.
This is a quarter of a matrix of the widest feature maps that are measured."""

RESIDENT = 2 * 2**20
"""Largest difference in bytes between the memory of a process and that of its arrays: allocators
round sizes up to pages, and a gradient tape takes some thousands of bytes."""


def sharing_bound(locations: int, entries: int, terms: float) -> float:
    """Bound of a score against the sum of its heat map in float64.

    The sums over locations of an entry and of its heat map have `locations` roundings each, the
    products with the second stream one per entry, and root, norm, weight, quotient and sum five.
    `terms` is the sum of the magnitudes of all terms.
    """
    return (2 * locations + entries + 5) * UNIT_ROUNDOFF["float64"] * terms


def score_bound(entries: int, terms: float, dtype: str) -> float:
    """Bound of a model's logit against the score in float64.

    The classifier sums its products in float32. In bfloat16, the sum and then the sum with the bias
    are rounded. `terms` is the sum of the magnitudes of all terms.
    """
    rounded = {"float32": 0.0, "bfloat16": 2 * 2.0**-9}[dtype]
    return ((entries + 1) * UNIT_ROUNDOFF["float32"] + rounded) * terms


HEAT = 5 * LOGITS["float32"]
"""Tolerance of float32 heat maps between frameworks, relative to the sum of the magnitudes of all
terms. A term has a root, a product of two features and the inverse of a sum of such products, each
with the error of the feature maps."""
