"""The operators in TensorFlow. The public namespace is `bilinear.tensorflow`.

``<operator>_unchecked`` is the formula without checks, in the accumulation dtype.
"""
