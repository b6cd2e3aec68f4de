"""The tolerances of derivatives taken by differences and of whole networks, with their reasons.

Operators are held to bounds derived from the inputs (`bilinear.testing`). For whole networks a
rigorous bound would be vacuous: `LOGITS` and `GRADIENTS` are statistical estimates.
"""

from bilinear.testing.tolerances import UNIT_ROUNDOFF

STEP = 1e-7
"""Of central differences in extended precision, whose roundoff is 5e-20: they err by about STEP²
times the next derivative but one (1e-14, times the derivatives' growth beside 0) and 5e-20 / STEP.
"""

DERIVATIVE = {"float64": 1e-8, "bfloat16": 2.0**-8}
"""Of a derivative against such differences, relative to the largest entry: the test points stay
far enough from 0 for derivatives to grow by less than 1e6. bfloat16 is computed in float32 and
rounded once, by 2⁻⁹ at most; twice that leaves room for float32's own roundings."""

COARSE_DIFFERENCES = 1e-5
"""Of a derivative against TensorFlow's central differences in float64, of step 2⁻¹⁰: they err by
step² / 6 = 1.6e-7 times a third derivative, which stays below 50 at the test points."""

COMPLEX_STEP = 1e-12
"""Of a float64 gradient against the complex step, which has no cancellation: some fifty roundings
on either side, amplified by root slopes that stay below 100 at the test points."""

NETWORK_LAYERS, NETWORK_TERMS = 20, 512 * 9
"""Weighted layers one after the other (ResNet18's 18, the descriptor and the classifier), and the
products summed for one number of the widest convolution."""

LOGITS = {dtype: NETWORK_LAYERS * NETWORK_TERMS**0.5 * u for dtype, u in UNIT_ROUNDOFF.items()}
"""Largest ‖difference‖₂ / ‖value‖₂ of logits or BatchNorm statistics between two computations of
one network: each layer adds the error of a sum whose roundings are independent, √terms · u, and
by BatchNorm or Kaiming's weights passes on what it was given unamplified. (Norm and classifier
sum 512² terms, √ of which would count as 7 layers each; the layers before the last have fewer
than 4608.) float64 1.5e-13, float32 8e-5."""

ROOT_SLOPE = 5e4
"""The signed root's largest slope, 1 / (2 √eps) at the default eps: by at most this the errors of
the logits are amplified on their way back through descriptors with entries beside 0."""

GRADIENTS = {dtype: ROOT_SLOPE * error for dtype, error in LOGITS.items() if dtype == "float64"}
"""Likewise of gradients: 7.5e-9 in float64. There is none for float32, where a ReLU whose argument
is within rounding of 0 falls either way and moves the gradient by a whole term."""

SPREAD = 8
"""A framework's float32 may err this many times as much as the worst of the others: their sums
differ in order and in blocking, and a blocked sum errs less than a running one."""

RUN = 20 * GRADIENTS["float64"]
"""Largest ‖difference‖₂ / ‖way from the start‖₂ of a tensor of two float64 runs after 20 steps, of
a momentum's to its value: each step's gradient errs by `GRADIENTS` of its own and, at a rate so
small that slopes hardly change on the way, passes on what the steps before erred unamplified.
1.5e-7; a velocity with the rate in it, say, errs by 1."""

EARLY_RUN = {
    "statistics": LOGITS["float32"],
    "parameters": LOGITS["float32"] ** 0.5,
    "momenta": LOGITS["float32"] ** 0.5,
}
"""Likewise of all tensors of one kind of two float32 runs after each of the first three steps. Of
the ReLUs a fraction `LOGITS` has an argument within its error of 0 and may fall the other way;
whichever does takes its whole share along, so that fraction of the gradient's square is lost:
9e-3 of the gradient, or √(20 √4608 / u) u = 1.5e5 u."""

OWN_DIVERGENCE = 10
"""Two frameworks' float32 runs may part this many times as far as one parts from itself when its
images and parameters are moved by an ulp at every step. A step rounds each parameter once but sums
its gradient of thousands of terms, so either may be the larger; both grow at one rate."""

RECOMPUTED = {"rtol": 1e-5, "atol": 1e-6}
"""Of float32 results of one small layer by two programs (eager, compiled, reloaded, mapped): each
errs by some forty roundings, 2.4e-6, of a unit vector's entries, or of the terms that one sums."""

PROJECTED = {"rtol": 1e-5, "atol": 1e-5}
"""Of float32 projections and their gradients against NumPy's: sums of up to 24 products of some
units, which may cancel, so that 24 roundings of a sum of 5 remain, 7e-6."""

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
"""Memory that `bilinear_pool` takes at most forward, and in both passes: over the bytes of its
input and output, or of these with their cotangents, in the dtype that is computed in. About half
the number of matrices as large as the output that are alive at once. PyTorch: the output and a
scratch; the output, the slope and a scratch, and of half a descriptor the whole slope, which is as
large as two outputs. TensorFlow in a graph has three and four (under XLA two), JAX two and, as XLA
fuses none of the transposes, up to seven; both read half of a descriptor out of a whole matrix.
Half types add what is widened, and the result or the cotangent before it is rounded: half a
matrix to three. What is as large as the input is fewer of each."""

PEAK_SLACK = 4 * 2**20
"""Bytes that a process takes beside its arrays: pages of code and of allocators, stacks.
One MiB, four where a system is busy; a quarter of a matrix of the widest maps that are measured."""

RESIDENT = 2 * 2**20
"""Bytes by which the memory of a process may differ from that of the arrays in it: the allocator
takes some pages more than asked for, a tape some thousands of bytes."""


def sharing_bound(locations: int, entries: int, terms: float) -> float:
    """Of a score against the sum of its heat, in float64; `terms` is the sum of all their sizes.

    An entry's sum over locations and its heat's both have that many roundings, the product with
    the second stream one for each entry, and five are of root, norm, weight, quotient and sum.
    """
    return (2 * locations + entries + 5) * UNIT_ROUNDOFF["float64"] * terms


def score_bound(entries: int, terms: float, dtype: str) -> float:
    """Of a model's logit against the score in float64; `terms` is the sum of its terms' sizes.

    The classifier adds its products in float32; of bfloat16 the sum and then the bias are rounded.
    """
    rounded = {"float32": 0.0, "bfloat16": 2 * 2.0**-9}[dtype]
    return ((entries + 1) * UNIT_ROUNDOFF["float32"] + rounded) * terms


HEAT = 5 * LOGITS["float32"]
"""Of float32 heat between frameworks, relative to the sum of all terms' sizes: a term is a root, a
product of two features and the inverse of a sum of such, each with the error of the maps."""
