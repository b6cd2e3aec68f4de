"""Faults of the fused `bilinear_pool`, in the words of each framework."""

from . import Edits, Mutant

TORCH: dict[str, Edits] = {
    "the slope lacks 1/2": [("u, n, 2 * divisor", "u, n, divisor")],
    "half of the roots differentiated without √2": [("weighed(s, x.shape[2]) if half else s", "s")],
    "half of a second derivative lacks a half of the matrix": [
        ("unflatten(-1, (x.shape[-1], y.shape[-1]))", "unflatten(-1, (x.shape[-1], -1)).triu()")
    ],
    "half of a tangent is weighted once": [
        ("weighed(weighed(dg, x.shape[2]), x.shape[2])", "weighed(dg, x.shape[2])")
    ],
    "the second derivative sees the norm as a constant": [
        ("return s, floored(s, l2_eps)", "return s, floored(s, l2_eps).detach()")
    ],
    "the tangent of the second stream is lost": [("((dx, y), (x, dy))", "((dx, y), (dx, y))")],
}

TORCH_PASSES: dict[str, Edits] = {
    "rows and columns of the flattening exchanged": [
        ("return u.flatten(1), n", "return u.mT.flatten(1), n")
    ],
    "the two eps exchanged": [
        ("z, part, eps, sign)", "z, part, l2_eps, sign)"),
        ("clamp_(min=l2_eps)", "clamp_(min=eps or 1e-30)"),
    ],
    "rounded to the half type between the steps": [
        ("        sign = _roots(s", "        s.copy_(s.to(x.dtype))\n        sign = _roots(s")
    ],
    "the gradient is not projected": [("torch.where(above, along, 0.0)", "0 * along")],
    "the gradient is projected below the floor too": [("torch.where(above, along, 0.0)", "along")],
    "the slope lacks the norm": [
        ("torch.mul(v, divisors[0], out=t).abs_()", "torch.abs(v, out=t)")
    ],
    "the slope has n in place of n²": [("return [product]", "return [divisor]")],
    "the slope has n in place of n² where that is out of range": [
        ("return [divisor, n]", "return [divisor]")
    ],
    "the slope has n² where that is out of range": [
        ("bool(((product > low)", "True or bool(((product > low)")
    ],
    "a root of 0 has a slope": [("threshold_(t, 0.0, torch.inf)", "threshold_(t, 0.0, 1.0)")],
    "only half of one stream's gradient": [("torch.add(m, m.mT, out=t)", "t.copy_(m)")],
    "the gradient of the first stream lacks a transpose": [("y[part], m.mT", "y[part], m")],
    "samples share a norm": [("dim=1, keepdim=True, out=n[part]", "keepdim=True, out=n[:1]")],
    "later blocks have the columns of others": [
        ("x[:, :, of.start :], out", "x[:, :, of.start :].roll(of.start, 2), out")
    ],
    "the diagonal counts twice in the norm": [("once * 0.5**0.5", "once")],
    "the diagonal stays lighter": [("        s[:, alone] = once\n", "")],
    "half a descriptor without √2": [("s.div_(norm * 0.5**0.5)", "s.div_(norm)")],
    "half of the gradient of half a descriptor": [
        ("_multiply(x[part], m, dx[part])", "_multiply(x[part], m.triu(), dx[part])")
    ],
}

TENSORFLOW: dict[str, Edits] = {
    "rows and columns of the flattening exchanged": [
        ("else tf.reshape(g, ", "else tf.reshape(tf.linalg.matrix_transpose(g), ")
    ],
    "the two eps exchanged": [
        ("g / z, eps)", "g / z, l2_eps)"),
        ("floored(s, l2_eps)", "floored(s, eps or 1e-30)"),
    ],
    "rounded to the half type between the steps": [
        (
            "    s = rooted",
            "    g = tf.cast(tf.cast(g, streams[0].dtype), g.dtype)\n    s = rooted",
        )
    ],
    "the gradient is not projected": [("slope * n - along", "slope * n")],
    "the gradient is projected below the floor too": [
        ("tf.where(short, constant(0, n), slope * n - along)", "slope * n - along")
    ],
    "the slope lacks the norm": [("n * tf.abs(u)", "tf.abs(u)")],
    "a root of 0 has a slope": [('constant(float("inf"), u)', "constant(1, u)")],
    "the slope leaves the range": [
        ("/ _root(u, n) * _scale(z, n, half)", "* (_scale(z, n, half) / _root(u, n))")
    ],
    "only half of one stream's gradient": [
        ("square + tf.linalg.matrix_transpose(square)", "square")
    ],
    "one stream is projected once, not twice": [("2 * across", "across")],
    "the gradient of the first stream lacks a transpose": [("y, h, transpose_b=True", "y, h")],
    "the gradient lacks 1/Z": [("else scale / z", "else scale")],
    "the norm is a constant to the second derivative": [("slope * n - along", "-along")],
    "the slope of half a descriptor lacks 2": [("1 if half else 0.5", "0.5")],
    "half a descriptor without √2": [("weighed(s, c) if half else s", "s")],
    "half types are multiplied in half": [
        ("wide(streams[0]), wide(streams[-1])", "streams[0], streams[-1]")
    ],
}

JAX: dict[str, Edits] = {
    "rows and columns of the flattening exchanged": [("nlc,nld->ncd", "nlc,nld->ndc")],
    "rounded to the half type between the steps": [
        ("rooted(p / z", "rooted(p.astype(x.dtype).astype(z.dtype) / z")
    ],
    "the gradient is not projected": [("du - u * along, n", "du, n")],
    "the gradient is projected below the floor too": [
        ("jnp.where(_short(n, l2_eps), 0.0, along)", "along")
    ],
    "the slope lacks the norm": [("n * jnp.abs(u)", "jnp.abs(u)")],
    "a root of 0 has a slope": [("u == 0, jnp.inf, n", "u == 0, 1.0, n")],
    "a NaN tangent is hidden at 0": [
        (f"({of} / root)", f"jnp.where(u == 0, 0.0, {of} / root)")
        for of in (
            "a",
            "_flat(_product(x, dx, mask))",
            "_flat(_product_tangent(x, y, dx, dy, mask))",
        )
    ],
    "only half of one stream's gradient": [("(matrix + matrix.mT)", "matrix")],
    "one stream is projected by half": [("2 * _sum(u * a)", "_sum(u * a)")],
    "the slope of half a descriptor lacks 2": [("2 * scale * (a", "scale * (a")],
    "half a descriptor without √2": [("weighed(s, x.shape[2]) if half else s", "s")],
    "later blocks have the columns of others": [
        ("x[:, :, start:], mask", "jnp.roll(x[:, :, start:], start, 2), mask")
    ],
    "half of the gradient of half a descriptor": [
        ("jnp.sum(triangles(_product(x, dx, mask), 2), axis=1)", "upper(_product(x, dx, mask))")
    ],
    "samples share a norm": [("axis=-1, keepdims", "axis=(0, -1), keepdims")],
    "half types accumulate in half": [("wide(keep(a, mask))", "keep(a, mask)")],
    "the second derivative sees the norm as a constant": [
        ("u * along, n * along", "u * along, 0 * along")
    ],
    "the second derivative sees the descriptor as a constant": [
        (
            "u, n = fused(*primals, eps, l2_eps, half)",
            "u, n = jax.lax.stop_gradient(fused(*primals, eps, l2_eps, half))",
        )
    ],
    "the tangent of the second stream is lost": [("((dx, y), (x, dy))", "((dx, y), (None, dy))")],
}

FAULTS = {
    "torch": {"_fused": TORCH, "_passes": TORCH_PASSES},
    "tensorflow": {"_fused": TENSORFLOW},
    "jax": {"_fused": JAX},
}
"""Of each framework and file."""


def mutants() -> list[Mutant]:
    """The battery, the transforms and the large shapes have to find them."""
    tests = ("tests/operators", "-k", "bilinear_pool and not compile")
    return [
        Mutant(
            name, framework, f"bilinear/backends/{framework}/{file}.py", edits, (framework,), tests
        )
        for framework, files in FAULTS.items()
        for file, faults in files.items()
        for name, edits in faults.items()
    ]
