"""Saving and loading a JAX B-CNN as the portable file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax._arrays import ArrayLike
from ...contract import Spec
from ...data.images import File, Preprocessing
from ...data.images import load_image as load_array
from ..checkpoint import check_streams, read_description
from ..portable import fill, model_arguments, pool_of, save_model
from .bcnn import BCNN, check_enabled
from .pool import maker


def save(
    model: BCNN,
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    momentum: Mapping[str, ArrayLike | nnx.Variable] | None = None,
    name: str | tuple[str, str] | None = None,
) -> None:
    """Write `model` as one file that every door of `bilinear` opens with the same predictions.

    Args:
        classes: names of the classes in order; None writes ``model.classes``.
        preprocessing: of the images; None writes ``model.preprocessing``.
        momentum: canonical parameter name -> SGD buffer, in the layout of the variable of that
            name in ``model.canonical()``. The trace of `optax.sgd` is a state like the
            parameters, so merged with the rest of the model it has their names::

                graphdef, _, rest = nnx.split(model, nnx.Param, ...)
                named = nnx.merge(graphdef, trace, rest).canonical()
                momentum = {k: v for k, v in named.items() if not isinstance(v, nnx.BatchStat)}

        name: of a backbone of your own (a pair for two); such a file opens only in JAX.

    The file appears whole or not at all. Raises: ValueError for tensors that are not finite,
        classes that do not fit, or momentum of no parameter; OSError where it cannot be written.
    """
    tensors = {key: model.to_canonical(key, value[...]) for key, value in model.canonical().items()}
    buffers = None
    if momentum is not None:
        buffers = {key: model.to_canonical(key, value[...]) for key, value in momentum.items()}
    save_model(
        "jax",
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
    backbone: nnx.Module | None = None,
    backbone_b: nnx.Module | None = None,
    momentum: Literal[False] = False,
) -> BCNN: ...
@overload
def load(
    path: str | os.PathLike,
    *,
    backbone: nnx.Module | None = None,
    backbone_b: nnx.Module | None = None,
    momentum: Literal[True],
) -> tuple[BCNN, dict[str, jax.Array]]: ...
def load(
    path: str | os.PathLike,
    *,
    backbone: nnx.Module | None = None,
    backbone_b: nnx.Module | None = None,
    momentum: bool = False,
) -> Any:
    """The model of a file, rebuilt from the file alone, in evaluation mode.

    Args:
        backbone, backbone_b: modules of the architecture the file was saved with, where its
            backbones are the user's own. They are copied, not changed.
        momentum: also return the SGD buffers, by canonical parameter name. With the `named` of a
            new optimiser's trace (see `save`), ``named[key][...] = buffer`` puts each in place.

    Raises: ValueError naming the file and the tensor for a file that is truncated, foreign, of a
        newer format, or not exactly what its description says, and for a float64 file without
        ``jax_enable_x64``; OSError where it cannot be read.
    """
    description = read_description(path)
    check_streams(
        path,
        description,
        "jax",
        backbone=backbone is not None,
        backbone_b=backbone_b is not None,
    )
    check_enabled(f"load {os.fsdecode(path)}", description.dtype)
    own = {"backbone": nnx.clone(backbone), "backbone_b": nnx.clone(backbone_b)}
    pool = pool_of(path, description, maker(description.dtype))
    model = BCNN(**model_arguments(description, **own), pool=pool)
    expected = {
        key: Spec(value[...].shape, value[...].dtype.name)
        for key, value in model.canonical().items()
    }
    model.eval()

    def as_buffer(key: str, value: np.ndarray) -> jax.Array:
        return jnp.asarray(model.to_own(key, value))

    return fill(model, path, description, expected, momentum, as_buffer)


def load_image(file: File, preprocessing: Preprocessing) -> jax.Array:
    """An image file as the batch of one, (1, H, W, 3), that a model takes.

    Raises: ValueError naming the file where it is not a whole image of a sensible size.
    """
    return jnp.asarray(load_array(file, preprocessing)[None])
