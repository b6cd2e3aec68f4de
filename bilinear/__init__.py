"""Bilinear pooling and bilinear CNNs for PyTorch, TensorFlow and JAX.

This module imports no framework. Import the namespace of the framework you use:

- `bilinear.torch`, `bilinear.tensorflow`, `bilinear.jax`: layers, operators and models, with the
  same names in each namespace
- `bilinear.reference`: the NumPy specification of every operator, forward and gradient
- `bilinear.data`: data sets, images, augmentation and batches
- `bilinear.train`: recipes and training
- `bilinear.analysis`: metrics, descriptors on disk, heat maps, classifier conversion
- `bilinear.cli`: the command line
"""

__version__ = "0.1.0"
