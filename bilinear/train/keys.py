"""What is known to decide the maps of a set of images, as JSON has it.

Equal keys on one machine are equal maps. Other machines of its kind may round otherwise, which no
key tells.
"""

import hashlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from .. import __version__
from ..contract import refuse
from ..data import Pipeline
from .engines import Engine
from .parts import BACKBONES


def varies(pipeline: Pipeline) -> bool:
    """Whether an image looks different in every epoch."""
    augmentation = pipeline.decoder.augmentation
    return augmentation is not None and augmentation.varies


def model_key(engine: Engine) -> dict[str, Any]:
    """Of a model and what computes it: rounding differs between frameworks, their versions and
    settings, and machines."""
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.tensors().items()):
        if name.partition(".")[0] in BACKBONES:
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return {
        "bilinear": __version__,
        "numpy": np.__version__,
        "machine": [platform.machine(), platform.processor()],
        "engine": engine.environment(),
        "backbones": engine.streams.names,
        "taps": engine.streams.taps,
        "weights": digest.hexdigest(),
    }


def images_key(pipeline: Pipeline) -> dict[str, Any]:
    """What decides the images of a part, but for the number of the epoch that shows them.

    Files of another size or time count as changed. Images are computed in batches in their order,
    and a batch of another size may round otherwise.

    Raises: OSError that names a file which cannot be looked at.
    """
    index, decoder = pipeline.index, pipeline.decoder
    augmentation = decoder.augmentation
    states = [_state(decoder.root / index.items[i].path) for i in pipeline.indices]
    files = json.dumps([(state.st_size, state.st_mtime_ns) for state in states])
    return {
        "data": index.checksum(),
        "files": hashlib.sha256(files.encode()).hexdigest(),
        "pillow": PIL.__version__,
        "part": pipeline.split,
        "batch_size": pipeline.batch_size,
        "preprocessing": decoder.preprocessing.to_dict(),
        "augmentation": augmentation and asdict(augmentation),
        "seed": decoder.seed if varies(pipeline) else None,
    }


def _state(path: Path) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        received = f"{error.strerror} for {path}"
        remedy = "Restore the file, or open the data set anew."
        refuse(type(error), "cache", "every image must be there", received, remedy)
