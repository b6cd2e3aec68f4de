"""Faults of the scores on a descriptor that is never held, in the words of every framework."""

from . import Fault, Mutant, in_each_framework

SCORES = "bilinear_scores"

FAULTS: list[Fault] = [
    Fault(
        "the scores are not divided by the norm",
        SCORES,
        {
            "torch": [("products / length(square, l2_eps)", "products + 0 * square")],
            "tensorflow": [("products / length(square, l2_eps)", "products + 0 * square")],
            "jax": [("products / _length(square, l2_eps)", "products + 0 * square")],
        },
    ),
    Fault(
        "the bias is divided by the norm",
        SCORES,
        {
            "torch": [
                (
                    "scores if bias is None else scores + wide(bias)",
                    "scores if bias is None else scores + wide(bias) / length(square, l2_eps)",
                )
            ],
            "tensorflow": [
                (
                    "scores if bias is None else scores + wide(bias)",
                    "scores if bias is None else scores + wide(bias) / length(square, l2_eps)",
                )
            ],
            "jax": [
                (
                    "scores + wide(jnp.asarray(bias))[None]",
                    "scores + wide(jnp.asarray(bias))[None] / _length(square, l2_eps)",
                )
            ],
        },
    ),
    Fault(
        "the norm is that of the last rows",
        SCORES,
        {
            "torch": [("square = square + (s", "square = (s")],
            "tensorflow": [
                ("    return products, square", "    return products, parts[-1][1]"),
            ],
            "jax": [("jax.tree.map(jnp.add, sums, ", "(lambda a, b: (a[0] + b[0], b[1]))(sums, ")],
        },
    ),
    Fault(
        "what is right of the diagonal is not weighed",
        SCORES,
        {
            "torch": [("2**0.5", "1.0")],
            "tensorflow": [("2**0.5", "1.0")],
            "jax": [("2**0.5", "1.0")],
        },
    ),
    Fault(
        "the two eps exchanged",
        SCORES,
        {
            "torch": [
                ("wide(weight), z, eps, half\n", "wide(weight), z, l2_eps, half\n"),
                ("length(square, l2_eps)", "length(square, eps or 1e-30)"),
            ],
            "tensorflow": [
                ("z, eps, half)\n    scores", "z, l2_eps, half)\n    scores"),
                ("length(square, l2_eps)", "length(square, eps or 1e-30)"),
            ],
            "jax": [
                ("float(eps), half)", "float(l2_eps), half)"),
                ("_length(square, l2_eps)", "_length(square, eps or 1e-30)"),
            ],
        },
    ),
    Fault(
        "masked locations of the second stream enter",
        SCORES,
        {
            "torch": [("keep(wide(y), mask)", "wide(y)")],
            "tensorflow": [("kept(wide(y), mask)", "wide(y)")],
            "jax": [("keep(wide(jnp.asarray(y)), chosen)", "wide(jnp.asarray(y))")],
        },
    ),
    Fault(
        "a root of 0 has a slope",
        SCORES,
        {
            "torch": [
                (
                    "sloped(_unflat(ds, m, ctx.half), m)",
                    "torch.where(m == 0, 1.0, sloped(_unflat(ds, m, ctx.half), m))",
                ),
                ("0.0, torch.inf)  # at 0", "0.0, 1.0)  # at 0"),
            ],
            "tensorflow": [("tf.where(dead, constant(0, m), ", "tf.where(dead, constant(1, m), ")],
        },
    ),
    Fault(
        "the gradient lacks that of the norm",
        SCORES,
        {
            "torch": [
                ("+ 2 * of_square * s", "+ 0 * of_square * s"),
                ("of_square, s, value=2", "of_square, s, value=0"),
            ],
            "tensorflow": [("constant(2, s) * of_square", "constant(0, s) * of_square")],
        },
    ),
    Fault(
        "one stream's gradient is that of its rows",
        SCORES,
        {
            "torch": [
                ("(dx + dy, None)", "(dx, None)"),
                ("dx if one_stream else torch", "torch"),
            ],
            "tensorflow": [("[dw, dx + dy]", "[dw, dx]")],
        },
    ),
    Fault(
        "the tangent of the weights is lost",
        SCORES,
        {"torch": [("if dw is not None:", "if dw is None:")]},
    ),
]


def mutants() -> list[Mutant]:
    """The battery of the operator has to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    return ("tests/operators", "-k", f"{fault.file} and not compiled and not ring")
