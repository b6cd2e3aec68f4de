"""B-CNNs in JAX. Public names are those of the door, `bilinear.jax`."""
