"""Faults of aggregation, each in the words of every framework."""

from . import Fault, Mutant, in_each_framework

MAXIMA, WEIGHTS, LAYER = "_maxima", "democratic_weights", "layers/democratic_pool"
AVERAGE = "layers/average_pool"

FAULTS: list[Fault] = [
    Fault(
        "ties do not share",
        MAXIMA,
        {
            "torch": [("1 / count.clamp(min=1)", "torch.ones_like(count)")],
            "tensorflow": [("1 / tf.maximum(count, 1)", "tf.ones_like(count)")],
            "jax": [("1.0 / count)", "jnp.ones_like(count))")],
        },
    ),
    Fault(
        "masked locations take part in the maximum",
        MAXIMA,
        {
            "torch": [("torch.where(kept, products, -torch.inf)", "products")],
            "tensorflow": [("tf.where(_wide(mask), products, constant(-math.inf, x))", "products")],
            "jax": [("jnp.where(mask[:, :, None], products, -jnp.inf)", "products")],
        },
    ),
    Fault(
        "masked locations share the gradient",
        MAXIMA,
        {
            "torch": [("reached & mask[:, :, None, None]", "reached")],
            "tensorflow": [("tf.logical_and(reached, _wide(mask))", "reached")],
            "jax": [("reached &= mask[:, :, None]", "pass")],
        },
    ),
    Fault(
        "the maximum of nothing is infinite",
        MAXIMA,
        {
            "torch": [("torch.where(kept.any(1), largest, 0.0)", "largest")],
            "tensorflow": [
                ("tf.where(tf.reduce_any(_wide(mask), 1), largest, constant(0, x))", "largest")
            ],
            "jax": [("jnp.where(mask.any(1, keepdims=True), largest, 0.0)", "largest")],
        },
    ),
    Fault(
        "a NaN maximum has a number for a gradient",
        MAXIMA,
        {
            "torch": [("torch.where(largest.isnan(), largest, 1 / count", "(1 / count")],
            "tensorflow": [("tf.where(nan, constant(math.nan, x), 1 / ", "(1 / ")],
            "jax": [("jnp.where(jnp.isnan(largest), jnp.nan, 1.0 / count)", "1.0 / count")],
        },
    ),
    Fault(
        "the targets are always constants",
        WEIGHTS,
        {
            "torch": [("c.detach() if detach_target else c", "c.detach()")],
            "tensorflow": [("tf.stop_gradient(c) if detach_target else c", "tf.stop_gradient(c)")],
            "jax": [
                ("jax.lax.stop_gradient(c) if detach_target else c", "jax.lax.stop_gradient(c)")
            ],
        },
    ),
    Fault(
        "the targets are never constants",
        WEIGHTS,
        {
            "torch": [("c.detach() if detach_target else c", "c")],
            "tensorflow": [("tf.stop_gradient(c) if detach_target else c", "c")],
            "jax": [("jax.lax.stop_gradient(c) if detach_target else c", "c")],
        },
    ),
    Fault(
        "the steps are not damped",
        WEIGHTS,
        {
            "torch": [("(alpha + eps).pow(1 - damping)", "(alpha + eps)")],
            "tensorflow": [("(alpha + small) ** constant(1 - damping, x)", "(alpha + small)")],
            "jax": [("(alpha + eps) ** (1 - damping)", "(alpha + eps)")],
        },
    ),
    Fault(
        "the slope of a power at 0",
        WEIGHTS,
        {
            "torch": [("torch.where(dead, 1.0, total).pow", "total.pow")],
            "tensorflow": [("tf.where(dead, constant(1, x), total) **", "total **")],
            "jax": [("jnp.where(dead, 1.0, total) **", "total **")],
        },
    ),
    Fault(
        "masked locations have weights",
        WEIGHTS,
        {
            "torch": [("torch.where(mask, alpha, 0.0)", "alpha")],
            "tensorflow": [("tf.where(mask, alpha, constant(0, x))", "alpha")],
            "jax": [("jnp.where(kept, alpha, 0.0)", "alpha")],
        },
    ),
    Fault(
        "maps scaled by α, not by its root",
        LAYER,
        {
            "torch": [("torch.sqrt(alpha + self.weight_eps)", "alpha")],
            "tensorflow": [("tf.sqrt(alpha + constant(self.weight_eps, alpha))", "alpha")],
            "jax": [
                ("jnp.sqrt(alpha + float(self.weight_eps))", "alpha"),
            ],
        },
    ),
    Fault(
        "a sum for a mean",
        AVERAGE,
        {
            "torch": [("(total / count)", "total")],
            "tensorflow": [('total / count(x, chosen, "mean")', "total")],
            "jax": [(" / counted(kept, chosen, kept.dtype)", "")],
        },
    ),
    Fault(
        "masked locations are averaged",
        AVERAGE,
        {
            "torch": [("keep(wide(x), mask)", "wide(x)")],
            "tensorflow": [("kept(wide(x), chosen)", "wide(x)")],
            "jax": [("keep(wide(jnp.asarray(flat)), chosen)", "wide(jnp.asarray(flat))")],
        },
    ),
    Fault(
        "masked locations are counted",
        AVERAGE,
        {
            "torch": [
                ("x.shape[1] if mask is None else counted", "x.shape[1] if True else counted")
            ],
            "tensorflow": [('count(x, chosen, "mean")', 'count(x, None, "mean")')],
            "jax": [("counted(kept, chosen,", "counted(kept, None,")],
        },
    ),
    Fault(
        "half types are averaged as they come",
        AVERAGE,
        {
            "torch": [("wide(x)", "x")],
            "tensorflow": [("wide(x)", "x")],
            "jax": [("wide(jnp.asarray(flat))", "jnp.asarray(flat)")],
        },
    ),
]


def mutants() -> list[Mutant]:
    """The hard points of its operator, or the rows of its layer, have to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    selected = {
        MAXIMA: "outer_max_pool and (edges or star)",
        WEIGHTS: f"{WEIGHTS} and (edges or star)",
        LAYER: "layer and DemocraticPool",
        AVERAGE: "layer and AveragePool",
    }
    return ("tests/operators", "-k", selected[fault.file])
