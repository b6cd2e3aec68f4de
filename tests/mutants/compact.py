"""Faults of compact bilinear pooling, each in the words of every framework."""

from . import Fault, Mutant, in_each_framework

SKETCH, SIGNS, LAYER = "tensor_sketch", "random_maclaurin", "layers/compact_bilinear_pool"

FAULTS: list[Fault] = [
    Fault(
        "the second hash has no signs",
        SKETCH,
        {
            "torch": [("tables.s1[:, None] * tables.s2)", "tables.s1[:, None] * tables.s2.abs())")],
            "tensorflow": [
                ("[:, None] * tf.cast(s2, g.dtype)", "[:, None] + 0 * tf.cast(s2, g.dtype)")
            ],
            "jax": [("s2.astype(g.dtype)[None, :]", "abs(s2).astype(g.dtype)[None, :]")],
        },
    ),
    Fault(
        "hashes are subtracted",
        SKETCH,
        {
            "torch": [("tables.h1[:, None] + tables.h2", "tables.h1[:, None] - tables.h2")],
            "tensorflow": [("h1[:, None] + h2", "h1[:, None] - h2")],
            "jax": [("h1[:, None] + h2[None, :]", "h1[:, None] - h2[None, :]")],
        },
    ),
    Fault(
        "bins beyond dim are the last",
        SKETCH,
        {
            "torch": [
                (
                    "((tables.h1[:, None] + tables.h2) % tables.dim)",
                    "(tables.h1[:, None] + tables.h2).clamp(max=tables.dim - 1)",
                )
            ],
            "tensorflow": [
                (
                    "tf.math.floormod(h1[:, None] + h2, dim)",
                    "tf.minimum(h1[:, None] + h2, tf.cast(dim - 1, h1.dtype))",
                )
            ],
            "jax": [
                ("(h1[:, None] + h2[None, :]) % dim", "jnp.minimum(h1[:, None] + h2, dim - 1)")
            ],
        },
    ),
    Fault(
        "of what falls into one bin, one is kept",
        SKETCH,
        {
            "torch": [(".scatter_add(", ".scatter(")],
            "tensorflow": [("unsorted_segment_sum", "unsorted_segment_max")],
            "jax": [("segment_sum", "segment_max")],
        },
    ),
    Fault(
        "correlation in place of convolution",
        SKETCH,
        {
            "torch": [("torch.fft.rfft(b)", "torch.fft.rfft(b).conj()")],
            "tensorflow": [("tf.signal.rfft(b)", "tf.math.conj(tf.signal.rfft(b))")],
            "jax": [("jnp.fft.rfft(b)", "jnp.fft.rfft(b).conj()")],
        },
    ),
    Fault(
        "an odd length is lost",
        SKETCH,
        {
            "torch": [(", n=tables.dim)", ")")],
            "tensorflow": [("tf.signal.rfft(b), [dim])", "tf.signal.rfft(b))")],
            "jax": [("jnp.fft.rfft(b), dim)", "jnp.fft.rfft(b))")],
        },
    ),
    Fault(
        "a NaN stays in its bin",
        SKETCH,
        {
            "torch": [("return out + (0.0 * out).sum(-1, keepdim=True)", "return out")],
            "tensorflow": [
                (
                    "return out + tf.reduce_sum(constant(0, out) * out, -1, keepdims=True)",
                    "return out + constant(0, out)",
                )
            ],
            "jax": [("return out + jnp.sum(0.0 * out, -1, keepdims=True)", "return out")],
        },
    ),
    Fault(
        "missing 1/√dim",
        SIGNS,
        {
            "torch": [(" / w1.shape[1] ** 0.5", "")],
            "tensorflow": [("y_kept, w2) / scale", "y_kept, w2)")],
            "jax": [(" / tables.w1.shape[1] ** 0.5", "")],
        },
    ),
    Fault(
        "both streams have the first table",
        SIGNS,
        {
            "torch": [("matmul(y_kept, w2)", "matmul(y_kept, w1)")],
            "tensorflow": [("matmul(y_kept, w2)", "matmul(y_kept, w1)")],
            "jax": [("_product(y_kept, tables.w2)", "_product(y_kept, tables.w1)")],
        },
    ),
    Fault(
        "the sum is a mean",
        SIGNS,
        {
            "torch": [("return g.sum(1)\n    return", "return g.mean(1)\n    return")],
            "tensorflow": [("count(x, mask, reduction)", 'count(x, mask, "mean")')],
            "jax": [('1.0 if reduction == "sum" else ', "")],
        },
    ),
    Fault(
        "the tables are not state",
        LAYER,
        {
            "torch": [
                (
                    "self.register_buffer(name, torch.from_numpy(table))",
                    "setattr(self, name, torch.from_numpy(table))",
                )
            ],
            "tensorflow": [("dtype=table.dtype.name", 'dtype="float16"')],  # or rounded
            "jax": [("Table(jnp.asarray(table))", "nnx.Param(jnp.asarray(table))")],  # or learned
        },
    ),
]


def mutants() -> list[Mutant]:
    """The hard points of its operator have to find each; the layer has tests of its own."""
    return in_each_framework(FAULTS, _tests)


def _tests(fault: Fault) -> tuple[str, ...]:
    if fault.file == LAYER:
        return ("tests/layers/test_compact_bilinear_pool.py", "-k", "part_of")
    return ("tests/operators", "-k", f"{fault.file} and (edges or star or nan)")
