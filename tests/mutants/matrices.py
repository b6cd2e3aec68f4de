"""Faults of covariances and matrix roots, each in the words of every framework."""

from . import Fault, Mutant, in_each_framework

COVARIANCE, ROOT, EIGEN = "covariance_pool", "matrix_sqrt", "_spectral"

FAULTS: list[Fault] = [
    Fault(
        "nothing is centred",
        COVARIANCE,
        {
            "torch": [("keep(kept - kept.sum(1, keepdim=True) / z, mask)", "kept")],
            "tensorflow": [
                ("kept(used - tf.reduce_sum(used, 1, keepdims=True) / z, mask)", "used")
            ],
            "jax": [("keep(kept - jnp.sum(kept, axis=1, keepdims=True) / z, mask)", "kept")],
        },
    ),
    Fault(
        "the covariance is divided by Z − 1",
        COVARIANCE,
        {
            "torch": [("y_centred) / z", "y_centred) / (z - 1 + 1e-9)")],
            "tensorflow": [("transpose_a=True) / z", "transpose_a=True) / (z - 1 + 1e-9)")],
            "jax": [("return c / z", "return c / (z - 1 + 1e-9)")],
        },
    ),
    Fault(
        "masked locations are centred too",
        COVARIANCE,
        {
            "torch": [
                (
                    "return keep(kept - kept.sum(1, keepdim=True) / z, mask)",
                    "return kept - kept.sum(1, keepdim=True) / z",
                )
            ],
            "tensorflow": [
                (
                    "return kept(used - tf.reduce_sum(used, 1, keepdims=True) / z, mask)",
                    "return used - tf.reduce_sum(used, 1, keepdims=True) / z",
                )
            ],
            "jax": [
                (
                    "return keep(kept - jnp.sum(kept, axis=1, keepdims=True) / z, mask)",
                    "return kept - jnp.sum(kept, axis=1, keepdims=True) / z",
                )
            ],
        },
    ),
    Fault(
        "the antisymmetric part is rooted too",
        ROOT,
        {
            "torch": [("a = (a + a.mT) / 2", "a = a + 0")],
            "tensorflow": [
                ("a = (a + tf.linalg.matrix_transpose(a)) * constant(0.5, a)", "a = a + 0")
            ],
            "jax": [("a = (a + a.mT) / 2", "a = a + 0")],
        },
    ),
    Fault(
        "one step fewer",
        ROOT,
        {b: [("range(1, steps)", "range(1, steps - 1)")] for b in ("torch", "tensorflow", "jax")},
    ),
    Fault(
        "Y and Z multiplied in the wrong order",
        ROOT,
        {
            "torch": [("matmul(y, t), matmul(t, z)", "matmul(t, y), matmul(z, t.mT) * 1.001")],
            "tensorflow": [("tf.matmul(y, t), tf.matmul(t, z)", "tf.matmul(y, t), t")],
            "jax": [("matmul(y, t), matmul(t, z)", "matmul(y, t), t")],
        },
    ),
    Fault(
        "the result lacks √s",
        ROOT,
        {
            "torch": [("s.sqrt() * _iterated", "1.0 * _iterated")],
            "tensorflow": [("tf.sqrt(s) * _iterated", "tf.sqrt(s / s) * _iterated")],
            "jax": [("jnp.sqrt(s) * _iterated", "1.0 * _iterated")],
        },
    ),
    Fault(
        "s is a constant to the gradient",
        ROOT,
        {
            "torch": [("s, dead = _scale(a,", "s, dead = _scale(a.detach(),")],
            "tensorflow": [("s, dead = _scale(a,", "s, dead = _scale(tf.stop_gradient(a),")],
            "jax": [("s, dead = _scale(a,", "s, dead = _scale(jax.lax.stop_gradient(a),")],
        },
    ),
    Fault(
        "zero is divided by zero",
        ROOT,
        {
            "torch": [
                ("dead = s <= 0", "dead = s < 0"),
                ("dead = square <= 0", "dead = square < 0"),
            ],
            "tensorflow": [
                ("stop_gradient(square) <= constant", "stop_gradient(square) < constant")
            ],
            "jax": [("dead = s <= 0", "dead = s < 0"), ("dead = square <= 0", "dead = square < 0")],
        },
    ),
    Fault(
        "the slope between equal eigenvalues is 0",
        EIGEN,
        {
            "torch": [
                (
                    "both = zero[..., :, None] & zero[..., None, :]",
                    "both = (roots[..., :, None] - roots[..., None, :]).abs() < 1e-9",
                )
            ],
            "tensorflow": [
                (
                    "both = tf.logical_and(zero[:, :, None], zero[:, None, :])",
                    "both = tf.abs(roots[:, :, None] - roots[:, None, :]) < 1e-9",
                )
            ],
            "jax": [
                (
                    "both = zero[:, :, None] & zero[:, None, :]",
                    "both = jnp.abs(roots[:, :, None] - roots[:, None, :]) < 1e-9",
                )
            ],
        },
    ),
    Fault(
        "tol is no share but a number",
        EIGEN,
        {
            "torch": [("floor = tol * values.amax(-1, keepdim=True).clamp(min=0)", "floor = tol")],
            "tensorflow": [("share * tf.maximum(largest, nothing)", "share")],
            "jax": [("share * jnp.maximum(values.max(axis=1, keepdims=True), 0.0)", "share")],
        },
    ),
    Fault(
        "the second derivative sees the eigenvectors alone",
        EIGEN,
        {
            b: [("for _ in range(ORDERS):", "for _ in range(1):")]
            for b in ("torch", "tensorflow", "jax")
        },
    ),
]


def mutants() -> list[Mutant]:
    """The battery of its operator has to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    op = COVARIANCE if fault.file == COVARIANCE else ROOT
    if fault.name.startswith("the second derivative"):
        return ("tests/operators", "-k", f"{op} and second and not compile")
    files = ("tests/operators",)
    words = "root or slope or step or zero or derivative or symmetric or clustered or share"
    selected = op if fault.file == COVARIANCE else f"{op} or (matrix_sqrt and ({words}))"
    return (*files, "-k", f"({selected}) and not compiled and not ring")
