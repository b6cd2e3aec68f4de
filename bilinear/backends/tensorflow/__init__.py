"""The operators in TensorFlow, the layer in Keras. Public names are those of the door,
`bilinear.tensorflow`."""

import keras


def require_keras_backend() -> None:
    """ImportError unless Keras computes with TensorFlow."""
    name = keras.backend.backend()
    if name != "tensorflow":
        raise ImportError(
            "bilinear.tensorflow needs Keras to compute with TensorFlow, but it was imported with "
            f"{name!r}; set the environment variable KERAS_BACKEND=tensorflow before keras is "
            "first imported."
        )
