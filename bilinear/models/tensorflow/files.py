"""Saving and loading a Keras B-CNN as the portable file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import keras
import numpy as np
import tensorflow as tf

from ...contract import Spec, refuse
from ...data.images import File, Preprocessing
from ...data.images import load_image as load_array
from ..checkpoint import check_streams, read_description
from ..portable import fill, model_arguments, pool_of, save_model
from .bcnn import BCNN
from .pool import maker


def save(
    model: BCNN,
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    momentum: Mapping[str, Any] | None = None,
    name: str | tuple[str, str] | None = None,
) -> None:
    """Write `model` as one file that every door of `bilinear` opens with the same predictions.

    Args:
        classes: names of the classes in order; None writes ``model.classes``.
        preprocessing: of the images; None writes ``model.preprocessing``.
        momentum: canonical parameter name -> SGD buffer, of the shape of the variable of that
            name in ``model.canonical()``. The velocity of `keras.optimizers.SGD` is not one: it
            has the learning rate in it.
        name: of a backbone of your own (a pair for two); such a file opens only in TensorFlow.

    The file appears whole or not at all. Raises: ValueError for tensors that are not finite,
        classes that do not fit, or momentum of no parameter; OSError where it cannot be written.
    """
    own, policy = model.pool.dtype_policy.name, model.dtype_policy.name
    if own != policy:
        op = f"save {os.fsdecode(path)}"
        invariant = f"the pool must have the model's dtype policy {policy}"
        refuse(ValueError, op, invariant, own, "Make the pool with that dtype=, or by its name.")
    tensors = {key: model.to_canonical(key, value) for key, value in model.canonical().items()}
    buffers = None
    if momentum is not None:
        buffers = {key: model.to_canonical(key, value) for key, value in momentum.items()}
    save_model(
        "tensorflow",
        model,
        path,
        tensors,
        momentum=buffers,
        classes=classes,
        preprocessing=preprocessing,
        name=name,
    )


@overload
def load(
    path: str | os.PathLike,
    *,
    backbone: keras.layers.Layer | None = None,
    backbone_b: keras.layers.Layer | None = None,
    momentum: Literal[False] = False,
) -> BCNN: ...
@overload
def load(
    path: str | os.PathLike,
    *,
    backbone: keras.layers.Layer | None = None,
    backbone_b: keras.layers.Layer | None = None,
    momentum: Literal[True],
) -> tuple[BCNN, dict[str, tf.Tensor]]: ...
def load(
    path: str | os.PathLike,
    *,
    backbone: keras.layers.Layer | None = None,
    backbone_b: keras.layers.Layer | None = None,
    momentum: bool = False,
) -> Any:
    """The model of a file, rebuilt from the file alone.

    Args:
        backbone, backbone_b: layers or models of the architecture the file was saved with, where
            its backbones are the user's own. They are cloned, not changed.
        momentum: also return the SGD buffers, by canonical parameter name.

    Raises: ValueError naming the file and the tensor for a file that is truncated, foreign, of a
        newer format, or not exactly what its description says; OSError where it cannot be read.
    """
    description = read_description(path)
    check_streams(
        path,
        description,
        "tensorflow",
        backbone=backbone is not None,
        backbone_b=backbone_b is not None,
    )
    own = {"backbone": _cloned(backbone), "backbone_b": _cloned(backbone_b)}
    pool = pool_of(path, description, maker(description.dtype))
    model = BCNN(**model_arguments(description, **own), pool=pool)
    expected = {key: Spec(value.shape, value.dtype) for key, value in model.canonical().items()}

    def as_buffer(key: str, value: np.ndarray) -> tf.Tensor:
        return tf.constant(model.to_own(key, value))

    return fill(model, path, description, expected, momentum, as_buffer)


def _cloned(layer: keras.layers.Layer | None) -> keras.layers.Layer | None:
    """A layer of the same architecture; its variables are the file's to fill."""
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer)
    return None if layer is None else type(layer).from_config(layer.get_config())


def load_image(file: File, preprocessing: Preprocessing) -> tf.Tensor:
    """An image file as the batch of one, (1, H, W, 3), that a model takes.

    Raises: ValueError naming the file where it is not a whole image of a sensible size.
    """
    return tf.constant(load_array(file, preprocessing)[None])
