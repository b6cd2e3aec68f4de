"""Faults of half-size descriptors and of the published forms, in the words of each framework."""

from . import Fault, Mutant, in_each_framework

HALF, ROOT, NORM, POOL = "half_vectorize", "signed_sqrt", "l2_normalize", "bilinear_pool"

FAULTS: list[Fault] = [
    Fault(
        "the lower triangle is read",
        HALF,
        {
            "torch": [
                (
                    "packed(channels, g)",
                    "(packed(channels, g) % channels * channels + packed(channels, g) // channels)",
                )
            ],
            "tensorflow": [("row * channels + column", "column * channels + row")],
            "jax": [("row * channels + column", "column * channels + row")],
        },
    ),
    Fault(
        "2 in place of √2",
        HALF,
        {
            "torch": [("2**0.5", "2.0")],
            "tensorflow": [("2**0.5", "2.0")],
            "jax": [("2**0.5", "2.0")],
        },
    ),
    Fault(
        "√2 on the diagonal",
        HALF,
        {
            "torch": [("diagonal(channels, half), 1.0", "diagonal(channels, half), 2**0.5")],
            "tensorflow": [("tf.equal(row, column)", "tf.not_equal(row, column)")],
            "jax": [("row == column, 1,", "row != column, 1,")],
        },
    ),
    Fault(
        "√2 in any case",
        HALF,
        {
            "torch": [(" if isometric else upper(g)", "")],
            "tensorflow": [(" if isometric else upper(g)", "")],
            "jax": [(" if isometric else upper(g)", "")],
        },
    ),
    Fault(
        "half a descriptor without √2",
        POOL,
        {
            "torch": [("weighed(s, g.shape[1]) if half", "s if half")],
            "tensorflow": [("weighed(s, c) if half", "s if half")],
            "jax": [("weighed(s, c) if half", "s if half")],
        },
    ),
    Fault(
        "the shifted root is not shifted",
        ROOT,
        {
            "torch": [("root + eps**0.5", "root")],
            "tensorflow": [("sign * root + constant(float(eps) ** 0.5, g)", "sign * root")],
            "jax": [("root + float(eps) ** 0.5", "root")],
        },
    ),
    Fault(
        "the shifted root cancels",
        ROOT,
        {
            "torch": [("safe.abs() / (root + eps**0.5)", "root - eps**0.5")],
            "tensorflow": [
                (
                    "safe / (sign * root + constant(float(eps) ** 0.5, g))",
                    "root - sign * constant(float(eps) ** 0.5, g)",
                )
            ],
            "jax": [("jnp.abs(safe) / (root + float(eps) ** 0.5)", "root - float(eps) ** 0.5")],
        },
    ),
    Fault(
        "the unsigned root takes |g|",
        ROOT,
        {
            "torch": [("return (g + eps).sqrt()", "return (g.abs() + eps).sqrt()")],
            "tensorflow": [("tf.sqrt(g + constant", "tf.sqrt(tf.abs(g) + constant")],
            "jax": [("jnp.sqrt(g + float", "jnp.sqrt(jnp.abs(g) + float")],
        },
    ),
    Fault(
        "a published slope that is 0 at 0",
        ROOT,
        {
            "torch": [("* (g - still)", "* (g - still) * (still != 0)")],
            "tensorflow": [("* (g - still)", "* (g - still) * tf.abs(tf.sign(still))")],
            "jax": [("* (g - still)", "* (g - still) * jnp.abs(jnp.sign(still))")],
        },
    ),
    Fault(
        "the eps of a published slope inside the root",
        ROOT,
        {
            "torch": [("still.abs().sqrt() + slope_eps", "(still.abs() + slope_eps).sqrt()")],
            "tensorflow": [
                (
                    "tf.sqrt(tf.abs(still)) + constant(slope_eps, g)",
                    "tf.sqrt(tf.abs(still) + constant(slope_eps, g))",
                )
            ],
            "jax": [
                (
                    "jnp.sqrt(jnp.abs(still)) + float(slope_eps)",
                    "jnp.sqrt(jnp.abs(still) + float(slope_eps))",
                )
            ],
        },
    ),
    Fault(
        "an added eps is added to the norm",
        NORM,
        {
            "torch": [
                (
                    "((z * z).sum(-1, keepdim=True) + eps).sqrt()",
                    "((z * z).sum(-1, keepdim=True).sqrt() + eps)",
                )
            ],
            "tensorflow": [
                (
                    "tf.sqrt(tf.reduce_sum(z * z, -1, keepdims=True) + constant(eps, z))",
                    "(tf.sqrt(tf.reduce_sum(z * z, -1, keepdims=True)) + constant(eps, z))",
                )
            ],
            "jax": [("jnp.sqrt(_square(z) + float(eps))", "(jnp.sqrt(_square(z)) + float(eps))")],
        },
    ),
]


def mutants() -> list[Mutant]:
    """The hard points of its operator have to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    return (
        "tests/operators",
        "-k",
        f"{fault.file} and (edges or star) and not ring",
    )
