"""What `bilinear` does, on real photographs: ``python examples/demo.py``."""
