"""`save`, `load`, `load_image` and `import_checkpoint`, written once for all frameworks."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np

from .. import presets
from ..contract import message, refuse
from ..contract.errors import type_name
from ..data.images import File, Preprocessing
from ..data.images import load_image as load_array
from .checkpoint import check_streams, open_portable, write
from .construction import UNFILLED, check_classes
from .description import DAMAGED, Custom, Description
from .framework import Framework
from .import_path import import_backbone
from .imports import read_import
from .layouts import Backbones, Layout
from .network import Network
from .plans import DTYPES
from .pools import MakeLayer, describe_pool
from .streams import STREAMS, Streams

Tensor = TypeVar("Tensor")
Model = TypeVar("Model", bound=Network[Any])


class Files(Generic[Model, Tensor]):
    """The functions of one namespace, given its `BCNN` and framework, that read and write files."""

    def __init__(self, model: type[Model], framework: Framework) -> None:
        self._model: Any = model
        self._framework = framework

    def save(
        self,
        model: Model,
        path: str | os.PathLike,
        *,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        momentum: Mapping[str, Any] | None = None,
        name: str | tuple[str, str] | None = None,
    ) -> None:
        """Write `model` as a portable file, which every namespace of `bilinear` can open.

        The file is written atomically: on an error, the file at `path` stays as it was.

        Args:
            model: a `BCNN` whose classifier is a linear layer, also within wrappers such as those
                of `torch.compile`, ``DataParallel`` and averages of models.
            path: of the file; its name usually ends in ``.safetensors``.
            classes: class names in the order of the logits; None writes ``model.classes``.
            preprocessing: of the images; None writes ``model.preprocessing``.
            momentum: SGD buffers by canonical parameter name, each with the shape of
                ``model.canonical()[name]``; None writes none.
            name: name of a custom backbone (a pair for two), for example its import path
                ``package.module:function``, by which `load` can import it. Such a file opens only
                in the framework that wrote it.

        Raises: ValueError for tensors that are not finite, wrong class names, a custom pool, or
            momentum of a tensor that is not a parameter; TypeError for another model or classifier;
            OSError if the file cannot be written.
        """
        op = f"save {os.fsdecode(path)}"
        model = self._framework.unwrapped(model)
        if not isinstance(model, self._model):
            invariant = f"model must be a bilinear.{self._framework.name}.BCNN"
            remedy = "Pass the BCNN that it contains, or save it by your framework's own functions."
            refuse(TypeError, op, invariant, type_name(model), remedy)
        model.check_classifier(op)
        policy = getattr(model, "dtype_policy", None)  # of Keras
        if policy is not None and model.pool.dtype_policy.name != policy.name:
            # a file has one dtype, so the pool cannot have a policy of its own
            invariant = f"the pool must have the model's dtype policy {policy.name}"
            remedy = "Make the pool with that dtype=, or by its name."
            refuse(ValueError, op, invariant, model.pool.dtype_policy.name, remedy)
        first, second = _describe_streams(op, self._framework.name, model.streams, name)
        classes = model.classes if classes is None else classes
        if isinstance(classes, str):
            remedy = "Pass a list of names."
            refuse(TypeError, op, "classes must be a sequence of names", repr(classes), remedy)
        tensors = {key: model.to_canonical(key, v) for key, v in model.canonical().items()}
        num_classes = model.num_classes
        if (weight := tensors.get("classifier.weight")) is not None:  # it may have been replaced
            num_classes = len(weight)
            tensors.setdefault("classifier.bias", np.zeros(num_classes, weight.dtype))
        buffers = {key: model.to_canonical(key, v) for key, v in (momentum or {}).items()}
        description = Description(
            backbone=first,
            backbone_b=second,
            num_classes=num_classes,
            descriptor_size=int(model.pool.descriptor_size(*model.streams.pooled)),
            pooling=describe_pool(op, model.pool),
            classes=None if classes is None else tuple(classes),
            preprocessing=model.preprocessing if preprocessing is None else preprocessing,
            dtype=_dtype(tensors),
            projection=model.streams.projection,
            taps=model.streams.taps,
            in_channels=model.streams.in_channels,
        )
        write(path, description, tensors, None if momentum is None else buffers)

    @overload
    def load(
        self,
        path: str | os.PathLike,
        *,
        num_classes: int | None = None,
        backbone: Any = None,
        backbone_b: Any = None,
        allow_import: bool = False,
        momentum: Literal[False] = False,
    ) -> Model: ...
    @overload
    def load(
        self,
        path: str | os.PathLike,
        *,
        num_classes: int | None = None,
        backbone: Any = None,
        backbone_b: Any = None,
        allow_import: bool = False,
        momentum: Literal[True],
    ) -> tuple[Model, dict[str, Tensor]]: ...
    def load(
        self,
        path: str | os.PathLike,
        *,
        num_classes: int | None = None,
        backbone: Any = None,
        backbone_b: Any = None,
        allow_import: bool = False,
        momentum: bool = False,
    ) -> Any:
        """Rebuild the model of a portable file, in evaluation mode.

        Args:
            path: of the file.
            num_classes: replace the classifier by a new one for this many classes, as
                `BCNN.reset_classifier` does; None loads the classifier of the file.
            backbone: for a file with a custom backbone, a module of the same architecture. The
                module is copied, not changed.
            backbone_b: the same for the second stream.
            allow_import: import a custom backbone that is not given, if the file names it by its
                import path ``package.module:function``. This runs the code of that module.
            momentum: also return the SGD momentum buffers, by canonical parameter name.

        Returns: the `BCNN`; with ``momentum=True``, a pair of the `BCNN` and the buffers.

        Raises: ValueError naming file and tensor, for a file that is truncated, not written by
            `save`, of a newer format, or inconsistent, or that is rewritten in place meanwhile;
            OSError if the file cannot be read.
        """
        op = f"load {os.fsdecode(path)}"
        if num_classes is not None:
            check_classes(op, num_classes)
            if momentum:
                remedy = "Load without momentum=True: the buffers are those of the old classifier."
                received = f"num_classes={num_classes}"
                refuse(ValueError, op, "momentum=True must keep the classifier", received, remedy)
        with open_portable(path) as file:
            given: dict[str, Any] = dict(zip(STREAMS, (backbone, backbone_b), strict=True))
            model = self._make(op, file.description, given, allow_import)
            checkpoint = file.read(model.specs(), momentum)
        model.assign(checkpoint.tensors)
        model.classes = checkpoint.description.classes
        model.preprocessing = checkpoint.description.preprocessing
        if num_classes is not None:
            model.reset_classifier(num_classes)
        _evaluate(model)
        if checkpoint.momentum is None:
            return model
        from_numpy = self._framework.from_numpy
        return model, {
            key: from_numpy(model.to_own(key, array)) for key, array in checkpoint.momentum.items()
        }

    def _make(
        self, op: str, description: Description, given: Mapping[str, Any], allow_import: bool
    ) -> Any:
        """Make the model of a file, whose tensors are not set yet."""
        known = {key: module is not None for key, module in given.items()}
        paths = description.import_paths if allow_import else {}
        paths = {key: path for key, path in paths.items() if not known[key]}
        there = {key: known[key] or key in paths for key in STREAMS}
        check_streams(op, description, self._framework.name, **there)
        self._framework.check_dtype(op, description.dtype)
        modules = {key: self._framework.copied(module) for key, module in given.items()}
        for key, path in paths.items():
            modules[key] = import_backbone(op, path, self._framework)
        first, second = description.resolved.pair
        make = partial(self._framework.layer, dtype=description.dtype)
        return self._model(
            first or modules["backbone"],
            description.num_classes,
            backbone_b=second or modules["backbone_b"],
            pool=_make_pool(op, description, make),
            projection=description.projection,
            taps=description.taps,
            channels=description.channels,
            in_channels=description.in_channels,
            seed=UNFILLED,
            dtype=description.dtype,
        )

    def load_image(self, file: File, preprocessing: Preprocessing) -> Tensor:
        """Read an image file as a batch of one image, the input of a `BCNN`.

        Args:
            file: a path or a binary stream.
            preprocessing: usually ``model.preprocessing``.

        Raises: ValueError naming the file, if it is not a complete image, or is too large.
        """
        return self._framework.images(load_array(file, preprocessing)[None])

    def import_checkpoint(
        self,
        path: str | os.PathLike,
        layout: str | Layout,
        *,
        backbone: Backbones | None = None,
        num_classes: int | None = None,
    ) -> Model:
        """Open a B-CNN checkpoint of other code; the model gives the same logits as that code.

        The model is in evaluation mode. Its `preprocessing` is that of the code's test images, and
        its `classes` is None, because such files have no class names.

        Args:
            path: a ``.safetensors`` file with the tensors of that code; in `bilinear.torch` also
                the file that the code saved by `torch.save`. Pickled objects are not loaded.
            layout: the code that trained it: ``"umass"``, ``"umass-improved"``,
                ``"umass-democratic"``, ``"haomood"`` or ``"fast-mpn-bcnn"``; or a
                `bilinear.models.layouts.Layout` that describes other code.
            backbone: name of the backbone (a pair for two streams), if the code supports several;
                None detects it from the tensor names.
            num_classes: expected number of classes; None accepts any.

        Raises: ValueError naming file and tensor, for a checkpoint of another layout, for tensors
            that are missing, unknown, of a wrong shape or not finite, and for ``"hawkeye"``, whose
            network differs; OSError if the file cannot be read.
        """
        found = read_import(path, layout, backbone, num_classes, read_pth=self._framework.read_pth)
        model = self._model(**found.arguments, seed=UNFILLED)
        model.assign(found.tensors)
        model.preprocessing = found.preprocessing
        return _evaluate(model)


def _make_pool(op: str, description: Description, make: MakeLayer) -> Any:
    """Make the pool of a file. Raises: ValueError naming the file where it cannot be made."""
    try:
        return presets.make_layer(description.pooling, make)
    except (TypeError, ValueError) as error:
        invariant = "it must be possible to make its pool"
        raise ValueError(message(op, invariant, f"{error}", DAMAGED)) from error


def _evaluate(model: Any) -> Any:
    """Set evaluation mode, where the framework keeps a mode in the model."""
    if hasattr(model, "eval"):
        model.eval()
    return model


def _dtype(tensors: Mapping[str, np.ndarray]) -> str:
    """The dtype of the parameters that give the logits: the classifier's or the pool's."""
    last = "classifier.weight" if "classifier.weight" in tensors else "pool."
    names = (array.dtype.name for name, array in tensors.items() if name.startswith(last))
    return next((name for name in names if name in DTYPES), "none")  # which is refused


def _describe_streams(
    op: str, framework: str, streams: Streams, name: str | tuple[str, str] | None
) -> tuple[str | Custom, str | Custom | None]:
    names = name if isinstance(name, tuple) else (name, name)
    shared = streams.channels if len(streams.channels) > len(streams.names) else None
    described: list[str | Custom] = []
    for own, stream, channels in zip(names, streams.names, streams.channels, strict=False):
        if stream is not None:
            described.append(stream)
        elif own is None:
            invariant = "a model with a custom backbone must be saved under a name"
            refuse(ValueError, op, invariant, "name=None", "Pass name=, a pair for two of them.")
        else:
            described.append(Custom(own, framework, shared or channels))
    return described[0], described[1] if len(described) == 2 else None
