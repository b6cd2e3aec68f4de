"""Faults of the low-rank poolings, each in the words of every framework."""

from . import Fault, Mutant, in_each_framework

HADAMARD, POOL, SCORES = "hadamard_pool", "low_rank_pool", "low_rank_scores"

FAULTS: list[Fault] = [
    Fault(
        "windows of channels far apart",
        HADAMARD,
        {
            "torch": [("(h.shape[1] // factors, factors)).sum(2)", "(factors, -1)).sum(1)")],
            "tensorflow": [("[n, r // factors, factors]), 2)", "[n, factors, r // factors]), 1)")],
            "jax": [
                ("h.shape[1] // factors, factors).sum(2)", "factors, h.shape[1] // factors).sum(1)")
            ],
        },
    ),
    Fault(
        "a mean over the window",
        HADAMARD,
        {
            "torch": [("factors)).sum(2)", "factors)).mean(2)")],
            "tensorflow": [
                ("h = tf.reduce_sum(tf.reshape", "h = tf.reduce_mean(tf.reshape"),
            ],
            "jax": [("factors).sum(2)", "factors).mean(2)")],
        },
    ),
    Fault(
        "neighbouring streams alone are paired",
        HADAMARD,
        {
            "torch": [("itertools.combinations(kept, 2)", "zip(kept, kept[1:])")],
            "tensorflow": [("itertools.combinations(chosen, 2)", "zip(chosen, chosen[1:])")],
            "jax": [("itertools.combinations(kept, 2)", "zip(kept, kept[1:])")],
        },
    ),
    Fault(
        "the first stream alone is masked",
        HADAMARD,
        {
            "torch": [
                (
                    "[keep(stream, mask) for stream in streams]",
                    "[keep(streams[0], mask), *streams[1:]]",
                )
            ],
            "tensorflow": [
                (
                    "[kept(stream, mask) for stream in streams]",
                    "[kept(streams[0], mask), *streams[1:]]",
                )
            ],
            "jax": [
                (
                    "[keep(stream, chosen) for stream in streams]",
                    "[keep(streams[0], chosen), *streams[1:]]",
                )
            ],
        },
    ),
    Fault(
        "one projection for both sides",
        POOL,
        {
            "torch": [("(y_kept, v)", "(y_kept, u if y is None else v)")],
            "tensorflow": [("(y_kept, v)", "(y_kept, u if y is None else v)")],
            "jax": [("(y_kept, v)", "(y_kept, u if y is None else v)")],
        },
    ),
    Fault(
        "masked locations reach the projections",
        POOL,
        {
            "torch": [("x_kept = keep(wide(x), mask)", "x_kept = wide(x)")],
            "tensorflow": [("x_kept = kept(wide(x), mask)", "x_kept = wide(x)")],
            "jax": [
                ("x_kept = keep(wide(jnp.asarray(x)), chosen)", "x_kept = wide(jnp.asarray(x))")
            ],
        },
    ),
    Fault(
        "what the activation makes of masked locations is pooled",
        POOL,
        {
            "torch": [
                (
                    "return pooled(streams, factors, mask, reduction)",
                    "return pooled(streams, factors, None, reduction)",
                ),
            ],
            "tensorflow": [
                (
                    "return pooled(streams, factors, mask, reduction)",
                    "return pooled(streams, factors, None, reduction)",
                )
            ],
            "jax": [
                (
                    "return pooled(streams, factors, chosen, reduction)",
                    "return pooled(streams, factors, None, reduction)",
                )
            ],
        },
    ),
    Fault(
        "a NaN cotangent is hidden by relu",
        POOL,
        {
            "torch": [("torch.where(p <= 0, 0.0 * p, p)", "torch.relu(p)")],
            "tensorflow": [
                (
                    "tf.where(tf.stop_gradient(p) <= constant(0, p), constant(0, p) * p, p)",
                    "tf.where(tf.stop_gradient(p) <= constant(0, p), tf.zeros_like(p), p)",
                )
            ],
            "jax": [("jnp.where(p <= 0, 0.0 * p, p)", "jnp.where(p <= 0, 0.0, p)")],
        },
    ),
    Fault(
        "the negative part is added",
        SCORES,
        {
            "torch": [(" - _energies", " + _energies")],
            "tensorflow": [(" - _energies", " + _energies")],
            "jax": [(" - _energies", " + _energies")],
        },
    ),
    Fault(
        "classes and ranks are mixed",
        SCORES,
        {
            "torch": [("u.movedim(0, 1).flatten(1)", "u.movedim(0, 2).flatten(1)")],
            "tensorflow": [("tf.transpose(u, [1, 0, 2])", "tf.transpose(u, [1, 2, 0])")],
            "jax": [
                (
                    "jnp.moveaxis(jnp.asarray(u), 0, 1)",
                    "jnp.moveaxis(jnp.asarray(u), 0, 2)",
                )
            ],
        },
    ),
    Fault(
        "the bias is divided by the number of locations",
        SCORES,
        {
            "torch": [
                (
                    "averaged(difference, x.shape[1], mask, reduction) + bias.to(kept.dtype)",
                    "averaged(difference + bias.to(kept.dtype), x.shape[1], mask, reduction)",
                )
            ],
            "tensorflow": [
                (
                    "(difference if z is None else difference / z) + wide(bias)",
                    "difference + wide(bias) if z is None else (difference + wide(bias)) / z",
                )
            ],
            "jax": [
                (
                    "averaged(difference, kept, chosen, reduction) + shift",
                    "averaged(difference + shift, kept, chosen, reduction)",
                )
            ],
        },
    ),
]


def mutants() -> list[Mutant]:
    """The battery of its operator has to find each."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    return ("tests/operators", "-k", f"{fault.file} and not compiled and not ring")
