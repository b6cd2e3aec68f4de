"""Training: one recipe, one loop, an engine for each framework.

    index = validation_split(open_dataset("CUB_200_2011"))
    best = fit(named("bcnn-two-phase"), "torch", index, "runs/birds", workers=4)

`fit` is `build` and `train` on pipelines of `bilinear.data`; `train` takes any engine, also on a
model of your own, and any batches. Nothing here imports a framework before `build`.
"""

from .cache import Cache
from .changes import changed
from .engines import Engine, build
from .fit import fit
from .loop import train
from .named import NAMED, named
from .recipes import Group, Images, Model, Optimizer, Phase, Recipe, Schedule

__all__ = [
    "NAMED",
    "Cache",
    "Engine",
    "Group",
    "Images",
    "Model",
    "Optimizer",
    "Phase",
    "Recipe",
    "Schedule",
    "build",
    "changed",
    "fit",
    "named",
    "train",
]
