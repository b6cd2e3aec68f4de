"""The operators in JAX. The public namespace is `bilinear.jax`."""
