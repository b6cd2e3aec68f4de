"""B-CNNs in Keras. Import the public names from `bilinear.tensorflow`."""
