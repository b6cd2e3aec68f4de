"""B-CNNs in Keras. Public names are those of the door, `bilinear.tensorflow`."""
