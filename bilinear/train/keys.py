"""What the maps of a set of images depend on, as JSON has it: equal keys, equal maps."""

import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import __version__
from ..data import Pipeline
from .engines import Engine
from .parts import BACKBONES


def varies(pipeline: Pipeline) -> bool:
    """Whether an image looks different in every epoch."""
    augmentation = pipeline.decoder.augmentation
    return augmentation is not None and augmentation.varies


def model_key(engine: Engine) -> dict[str, Any]:
    """All of a model that decides its maps: rounding too, which differs between frameworks."""
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.tensors().items()):
        if name.partition(".")[0] in BACKBONES:
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return {
        "bilinear": __version__,
        "engine": engine.environment(),
        "backbones": engine.streams.names,
        "taps": engine.streams.taps,
        "weights": digest.hexdigest(),
    }


def images_key(pipeline: Pipeline) -> dict[str, Any]:
    """All that decides the images of a part, but for the number of the epoch that shows them.

    Files of another size or time count as changed. Images are computed in batches in their order,
    and a batch of another size may round otherwise.
    """
    index, decoder = pipeline.index, pipeline.decoder
    augmentation = decoder.augmentation
    states = [os.stat(decoder.root / index.items[i].path) for i in pipeline.places]
    files = json.dumps([(state.st_size, state.st_mtime_ns) for state in states])
    return {
        "data": index.checksum(),
        "files": hashlib.sha256(files.encode()).hexdigest(),
        "part": pipeline.part,
        "batch_size": pipeline.batch_size,
        "preprocessing": decoder.preprocessing.to_dict(),
        "augmentation": augmentation and asdict(augmentation),
        "seed": decoder.seed if varies(pipeline) else None,
    }
