"""The operators in JAX. The public namespace is `bilinear.jax`.

``<operator>_unchecked`` is the formula without checks, in the accumulation dtype.
"""
