"""B-CNNs in PyTorch. Import the public names from `bilinear.torch`."""
