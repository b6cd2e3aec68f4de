"""B-CNNs in PyTorch. Public names are those of the door, `bilinear.torch`."""
