"""Faults of the operators, each in the words of every framework."""

from . import Fault, Mutant, in_each_framework

POOL, ROOT, NORM = "outer_pool", "signed_sqrt", "l2_normalize"
STREAMS = {
    "torch": "x_kept = keep(wide(x), mask)\n    y_kept = x_kept if y is None else",
    "tensorflow": "x_kept = kept(wide(x), mask)\n    y_kept = x_kept if y is None else",
    "jax": "x_kept = keep(wide(jnp.asarray(x)), kept)\n    y_kept = x_kept if y is None else",
}
STOP = {
    "torch": "torch.Tensor.detach",
    "tensorflow": "tf.stop_gradient",
    "jax": "jax.lax.stop_gradient",
}


def _streams(change) -> dict[str, list[tuple[str, str]]]:
    return {b: [(text, change(text, STOP[b]))] for b, text in STREAMS.items()}


FAULTS: list[Fault] = [
    Fault(
        "gradient of one stream is 2 Γ X",
        POOL,
        _streams(
            lambda text, stop: text.replace(
                "\n    y_kept = x_kept",
                f"\n    x_still = {stop}(x_kept)"
                "\n    x_kept = 2 * x_kept - x_still if y is None else x_kept"
                "\n    y_kept = x_still",
            )
        ),
    ),
    Fault(
        "gradient of one stream is Γ X",
        POOL,
        _streams(
            lambda text, stop: text.replace("y_kept = x_kept if", f"y_kept = {stop}(x_kept) if")
        ),
    ),
    Fault(
        "missing 1/L",
        POOL,
        {
            "torch": [("return g / x.shape[1]", "return g")],
            "tensorflow": [("return tf.cast(shape(x)[1], kind)", "return None")],
            "jax": [("jnp.asarray(x.shape[1], dtype)", "jnp.ones((), dtype)")],
        },
    ),
    Fault(
        "masked locations are counted",
        POOL,
        {
            "torch": [("counted(mask, g.dtype)[:, None, None]", "x.shape[1]")],
            "tensorflow": [
                ("return tf.maximum(z, constant(1, z))", "return tf.cast(shape(x)[1], kind)")
            ],
            "jax": [("mask.sum(1, ", "jnp.ones_like(mask).sum(1, ")],
        },
    ),
    Fault(
        "the mask multiplies",
        POOL,
        {
            "torch": [("torch.where(mask[..., None], x, 0.0)", "x * mask[..., None]")],
            "tensorflow": [
                (
                    "tf.where(mask[..., None], x, constant(0, x))",
                    "x * tf.cast(mask[..., None], x.dtype)",
                )
            ],
            "jax": [("jnp.where(mask[:, :, None], x, 0.0)", "x * mask[:, :, None]")],
        },
    ),
    Fault(
        "the gradient ignores the mask",
        POOL,
        {
            "torch": [
                (
                    "torch.where(mask[..., None], x, 0.0)",
                    "torch.where(mask[..., None], x, x - x.detach())",
                )
            ],
            "tensorflow": [
                (
                    "tf.where(mask[..., None], x, constant(0, x))",
                    "tf.where(mask[..., None], x, x - tf.stop_gradient(x))",
                )
            ],
            "jax": [
                (
                    "jnp.where(mask[:, :, None], x, 0.0)",
                    "jnp.where(mask[:, :, None], x, x - jax.lax.stop_gradient(x))",
                )
            ],
        },
    ),
    Fault(
        "sum and mean exchanged",
        POOL,
        {b: [('if reduction == "sum":', 'if reduction == "mean":')] for b in STREAMS},
    ),
    Fault(
        "half types accumulate in half",
        POOL,
        {
            "torch": [
                ("keep(wide(x), mask)", "keep(x, mask)"),
                ("keep(wide(y), mask)", "keep(y, mask)"),
            ],
            "tensorflow": [
                ("kept(wide(x), mask)", "kept(x, mask)"),
                ("kept(wide(y), mask)", "kept(y, mask)"),
            ],
            "jax": [
                ("wide(jnp.asarray(x))", "jnp.asarray(x)"),
                ("wide(jnp.asarray(y))", "jnp.asarray(y)"),
            ],
        },
    ),
    Fault(
        "eps outside the root",
        ROOT,
        {
            "torch": [
                ("(safe.abs() + eps).sqrt()", "(safe.abs().sqrt() + eps)"),
                (".add_(eps).sqrt_()", ".sqrt_().add_(eps)"),
            ],
            "tensorflow": [
                (
                    "tf.sqrt(sign * safe + constant(eps, g))",
                    "(tf.sqrt(sign * safe) + constant(eps, g))",
                )
            ],
            "jax": [
                ("jnp.sqrt(jnp.abs(safe) + float(eps))", "(jnp.sqrt(jnp.abs(safe)) + float(eps))")
            ],
        },
    ),
    Fault(
        "eps doubled",
        ROOT,
        {
            "torch": [("safe.abs() + eps", "safe.abs() + 2 * eps"), ("add_(eps)", "add_(2 * eps)")],
            "tensorflow": [("constant(eps, g)", "constant(2 * eps, g)")],
            "jax": [("+ float(eps)", "+ 2 * float(eps)")],
        },
    ),
    Fault(
        "slope 1 / (2 √eps) at 0",
        ROOT,
        {
            "torch": [
                ("0.0 * g", "g * (0.5 / max(eps, 1e-30) ** 0.5)"),
                ("0.0, torch.inf", "0.0, max(ctx.eps, 1e-30) ** 0.5"),
            ],
            "tensorflow": [("constant(0, g) * g", "constant(0.5 / max(eps, 1e-30) ** 0.5, g) * g")],
            "jax": [("0.0 * g", "g * (0.5 / max(eps, 1e-30) ** 0.5)")],
        },
    ),
    Fault(
        "the sign is lost",
        ROOT,
        {
            "torch": [("safe.sign() * ", ""), (".mul_(sign)", "")],
            "tensorflow": [("root = sign * tf.sqrt", "root = tf.sqrt")],
            "jax": [("jnp.sign(safe) * root", "root")],
        },
    ),
    Fault(
        "a NaN cotangent is hidden at 0",
        ROOT,
        {
            "torch": [
                ("0.0 * g", "torch.zeros_like(g)"),
                ("cotangent / slope.mul_(2)", "(cotangent / slope.mul_(2)).nan_to_num_(0.0)"),
            ],
            "tensorflow": [("constant(0, g) * g", "tf.zeros_like(g)")],
            "jax": [("0.0 * g", "jnp.zeros_like(g)")],
        },
    ),
    Fault(
        "the slope that is read off the root lacks 1/2",
        ROOT,
        {"torch": [("slope.mul_(2)", "slope")]},
    ),
    Fault(
        "the tangent of the root lacks 1/2",
        ROOT,
        {"torch": [("0.5 * dg / torch.where", "dg / torch.where")]},
    ),
    Fault(
        "the floor is on the square",
        NORM,
        {
            "torch": [
                ("square.detach().sqrt() <= floor", "square.detach() <= floor"),
                ("torch.where(short, floor, norm)", "torch.where(short, floor.sqrt(), norm)"),
            ],
            "tensorflow": [
                ("tf.sqrt(tf.stop_gradient(square)) <= floor", "tf.stop_gradient(square) <= floor"),
                ("tf.where(short, floor, norm)", "tf.where(short, tf.sqrt(floor), norm)"),
            ],
            "jax": [("float(eps)", "float(eps) ** 0.5")],
        },
    ),
    Fault(
        "a norm at the floor is above it",
        NORM,
        {
            "torch": [("detach().sqrt() <= floor", "detach().sqrt() < floor")],
            "tensorflow": [("stop_gradient(square)) <= floor", "stop_gradient(square)) < floor")],
            "jax": [("norm <= float(eps)", "norm < float(eps)")],
        },
    ),
    Fault(
        "the norm is a constant to the gradient",
        NORM,
        {
            "torch": [
                ("torch.where(short, floor, norm)", "torch.where(short, floor, norm).detach()")
            ],
            "tensorflow": [
                ("tf.where(short, floor, norm)", "tf.stop_gradient(tf.where(short, floor, norm))")
            ],
            "jax": [("_square(v)))", "jax.lax.stop_gradient(_square(v))))")],
        },
    ),
    Fault(
        "normalised over the batch",
        NORM,
        {
            "torch": [(".sum(-1, keepdim=True)", ".sum((0, -1), keepdim=True)")],
            "tensorflow": [("tf.reduce_sum(z * z, -1,", "tf.reduce_sum(z * z, [0, -1],")],
            "jax": [("axis=-1, keepdims", "axis=(0, -1), keepdims")],
        },
    ),
]


def mutants() -> list[Mutant]:
    """The battery of its operator has to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    if fault.name.startswith("the tangent"):
        return ("tests/operators", "-k", f"jvp and {fault.battery}")
    selected = f"({fault.battery} or floor) and not compiled and not ring"
    return ("tests/operators", "-k", selected)
