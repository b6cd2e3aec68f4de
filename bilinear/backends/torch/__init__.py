"""The operators in PyTorch. Public names are those of the namespace, `bilinear.torch`."""
