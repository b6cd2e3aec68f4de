"""Bilinear pooling and bilinear CNNs with one specification and three frameworks.

Open the door of the framework you use; this module imports none of them:

- `bilinear.torch`, `bilinear.tensorflow`, `bilinear.jax`: the same names in each
- `bilinear.reference`: the NumPy specification of every operator, forward and gradient
- `bilinear.data.images`: image files to the arrays the models take
- `bilinear.data`: data sets in their published layouts, and batches of them
- `bilinear.analysis`: metrics of logits, files of descriptors, heat maps, classifier conversion
- `bilinear.cli`: the command line
"""

__version__ = "0.1.0"
