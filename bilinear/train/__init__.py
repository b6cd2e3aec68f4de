"""Training: one recipe, one loop, an engine for each framework.

    recipe = named("bcnn-two-phase")
    engine = build("torch", recipe, num_classes=200)
    best = train(recipe, engine, training, validation, "runs/birds")

`training` and `validation` give batches as `bilinear.data.Pipeline` does. Nothing here imports a
framework before `build`.
"""

from .engines import Engine, build
from .loop import train
from .named import NAMED, named
from .recipes import Group, Images, Model, Optimizer, Phase, Recipe, Schedule

__all__ = [
    "NAMED",
    "Engine",
    "Group",
    "Images",
    "Model",
    "Optimizer",
    "Phase",
    "Recipe",
    "Schedule",
    "build",
    "named",
    "train",
]
