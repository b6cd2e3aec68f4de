"""B-CNNs in JAX. Import the public names from `bilinear.jax`."""
