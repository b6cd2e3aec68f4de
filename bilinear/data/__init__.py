"""Data sets and input pipelines for every framework, based on NumPy and Pillow.

    index = validation_split(open_dataset("CUB_200_2011"), fraction=0.1, seed=0)
    with Pipeline(index, "train", batch_size=32, preprocessing=Preprocessing(),
                  augmentation=Augmentation(), seed=0, workers=2) as pipeline:
        for batch in pipeline.epoch(0): ...

`docs/data.md` describes the supported layouts on disk and how to pass batches to a framework.
"""

from .aircraft import read_aircraft
from .augment import Augmentation
from .cars import read_cars
from .cub import read_cub
from .folder import read_folder
from .image_reader import set_max_pixels
from .index import Index, Item
from .pipeline import Batch, Pipeline
from .readers import open_dataset
from .split import validation_split
from .webdataset import read_webdataset

__all__ = [
    "Augmentation",
    "Batch",
    "Index",
    "Item",
    "Pipeline",
    "open_dataset",
    "read_aircraft",
    "read_cars",
    "read_cub",
    "read_folder",
    "read_webdataset",
    "set_max_pixels",
    "validation_split",
]
