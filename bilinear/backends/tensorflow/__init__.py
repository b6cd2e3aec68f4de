"""The operators in TensorFlow; their public namespace is `bilinear.tensorflow`."""
