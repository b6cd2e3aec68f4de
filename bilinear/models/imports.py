"""Checkpoints of other code, read by a `Layout` into the arguments and tensors of a `BCNN`."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .. import presets
from ..analysis.classifiers import permute_classifier
from ..contract import Spec, refuse
from ..data.images import Preprocessing
from . import pools
from .layouts import LAYOUTS, Backbones, Layout, backbone_names
from .plans import CHANNELS, DTYPES, Head
from .state_dict import PTH, ReadPth, State, open_state
from .tensorfile import check_finite, check_layout

_OWN = "Load other networks into a custom module, for BCNN(module, ..., channels=...)."


class Imported(NamedTuple):
    """The arguments of a `BCNN`, and its tensors by canonical name."""

    arguments: dict[str, Any]
    tensors: dict[str, np.ndarray]
    preprocessing: Preprocessing


def read_import(
    path: str | os.PathLike,
    layout: str | Layout,
    backbone: Backbones | None = None,
    num_classes: int | None = None,
    *,
    read_pth: ReadPth | None = None,
) -> Imported:
    """Read a checkpoint of other code, checked whole. Raises: ValueError naming file and tensor."""
    path = os.fsdecode(path)
    op = f"import {path}"
    known = _layout(op, layout)
    if backbone not in (None, *known.backbones):
        invariant = f"its backbone must be {' or '.join(map(repr, known.backbones))}"
        refuse(ValueError, op, invariant, repr(backbone), _OWN)
    _check_suffix(op, path)
    every = {name for b in known.backbones for name in known.names(b)} | known.constants.keys()
    open_it = "import_checkpoint(path, layout)"
    with open_state(op, path, read_pth, every.__contains__, open_it) as state:
        return _read(op, layout, known, backbone, num_classes, state)


def _read(
    op: str,
    layout: str | Layout,
    known: Layout,
    backbone: Backbones | None,
    num_classes: int | None,
    state: State,
) -> Imported:
    found = state.specs
    if backbone is None:
        fitting = (b for b in known.backbones if known.fits(found, b))
        backbone = next(fitting, known.backbones[0])
    names, streams = known.names(backbone), backbone_names(backbone)
    for name in found:
        if name not in names and name not in known.constants:
            _refuse_unknown(op, name, found, backbone, layout)
    head = found.get(f"{known.classifier}weight", Spec((num_classes or 1,), "float32"))
    count, dtype = (*(head.shape or ()), 1)[0], head.dtype
    if num_classes not in (None, count):
        received = f"num_classes={num_classes}"
        refuse(ValueError, op, f"it has {count} classes", received, "Leave num_classes out.")
    if dtype not in DTYPES:
        invariant = f"tensors must be of one type of {', '.join(DTYPES)}"
        refuse(ValueError, op, invariant, dtype, "Cast them before.")
    channels = [CHANNELS[stream] for stream in streams]
    size = pools.size(presets.describe(known.pooling), channels)
    shapes = known.shapes(backbone, Head(count, size))
    expected = {name: Spec(shape, dtype) for name, shape in shapes.items()}
    remedy = f"The file is not a B-CNN on {' and '.join(streams)} in the layout {layout!r}. {_OWN}"
    check_layout(op, found, expected, remedy)
    tensors = {own: check_finite(op, their, state.read(their)) for their, own in names.items()}
    if known.order != "row-major":
        weight, pair = tensors["classifier.weight"], (channels[0], channels[-1])
        tensors["classifier.weight"] = permute_classifier(weight, pair, known.order)
    arguments = {
        "backbone": streams[0],
        "num_classes": count,
        "backbone_b": streams[1] if len(streams) == 2 else None,
        "pool": known.pooling,
        "dtype": dtype,
    }
    return Imported(arguments, tensors, known.preprocessing)


def _layout(op: str, layout: str | Layout) -> Layout:
    if isinstance(layout, str) and layout not in LAYOUTS:
        invariant = f"layout must be one of {', '.join(LAYOUTS)}, or a Layout"
        remedy = "bilinear.models.layouts says what each is; describe others by a Layout."
        refuse(ValueError, op, invariant, repr(layout), remedy)
    known = LAYOUTS[layout] if isinstance(layout, str) else layout
    if known.differs:
        invariant = f"the layout {layout!r} cannot be a BCNN: {known.differs}"
        remedy = "Load it into a custom module, for BCNN(module, ..., channels=512)."
        refuse(ValueError, op, invariant, "its file", remedy)
    return known


def _check_suffix(op: str, path: str) -> None:
    if not path.lower().endswith((".safetensors", *PTH)):
        invariant = f"the file must be a .safetensors or one of {', '.join(PTH)}"
        remedy = "Rename it with the suffix of its format."
        refuse(ValueError, op, invariant, os.path.basename(path), remedy)


def _refuse_unknown(
    op: str, name: str, found: Mapping[str, Any], backbone: Backbones, layout: str | Layout
) -> NoReturn:
    """Name the first unknown tensor, and the layouts that have all of the file's tensors."""
    fitting = [
        f"layout={other!r}, backbone={known!r}"
        for other, candidate in LAYOUTS.items()
        for known in candidate.backbones
        if candidate.fits(found, known)
    ]
    invariant = f"{name!r} is not a tensor of layout={layout!r}, backbone={backbone!r}"
    remedy = f"The file fits {' and '.join(fitting)}." if fitting else _OWN
    refuse(ValueError, op, invariant, f"it and {len(found) - 1} others", remedy)
