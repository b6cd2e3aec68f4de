"""The key of a set of feature maps: everything known to determine them, as JSON.

On one machine, equal keys mean equal maps; another of the same kind may round differently.
"""

import hashlib
import json
import os
import platform
from dataclasses import asdict
from typing import Any

import numpy as np
import PIL

from ... import __version__
from ...contract import refuse
from ...data import Pipeline
from ..checksums import tensors_checksum
from ..engines import Engine
from ..parameter_groups import BACKBONES


def is_augmented(pipeline: Pipeline) -> bool:
    """Whether an image looks different in every epoch."""
    augmentation = pipeline.decoder.augmentation
    return augmentation is not None and augmentation.varies


def model_key(engine: Engine) -> dict[str, Any]:
    """What a model and its framework determine: versions, settings, machine, backbones, weights."""
    tensors = engine.tensors().items()
    weights = {name: array for name, array in tensors if name.partition(".")[0] in BACKBONES}
    environment = engine.environment()
    for name in "processes", "shard_classifier":
        environment.pop(name, None)  # process 0 computes the maps, without the classifier
    return {
        "bilinear": __version__,
        "numpy": np.__version__,
        "machine": [platform.machine(), platform.processor()],
        "engine": environment,
        "backbones": engine.streams.names,
        "taps": engine.streams.taps,
        "weights": tensors_checksum(weights),
    }


def images_key(pipeline: Pipeline) -> dict[str, Any]:
    """What the images of a split determine, except the epoch. Raises: OSError that names a file.

    A file of another size or modification time counts as changed; another batch size may round
    differently.
    """
    index, decoder = pipeline.index, pipeline.decoder
    augmentation = decoder.augmentation
    files = []
    for path in (decoder.root / index.items[i].file for i in pipeline.indices):
        try:
            state = os.stat(path)
        except OSError as error:
            received = f"{error.strerror} for {path}"
            remedy = "Restore the file, or open the data set again."
            refuse(type(error), "cache", "every image must exist", received, remedy)
        files.append((state.st_size, state.st_mtime_ns))
    return {
        "data": index.checksum(),
        "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        "pillow": PIL.__version__,
        "split": pipeline.split,
        "batch_size": pipeline.batch_size,
        "preprocessing": decoder.preprocessing.to_dict(),
        "augmentation": augmentation and asdict(augmentation),
        "seed": decoder.seed if is_augmented(pipeline) else None,
    }
