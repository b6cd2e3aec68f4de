"""Training: one recipe, one loop, and an engine for each framework.

    index = validation_split(open_dataset("CUB_200_2011"))
    best = fit(named_recipe("bcnn-two-phase"), "torch", index, "runs/birds", workers=4)

`fit` calls `build` and `train` on pipelines of `bilinear.data`. `train` accepts any engine, also
one on a user-defined model, and any batches. No framework is imported before `build`.
"""

from .._require import require_packages

require_packages("bilinear.train", ("pydantic",), "cli")

from .engines import Engine, build
from .feature_cache import Cache
from .fit import fit
from .loop import train
from .named_recipes import NAMED_RECIPES, named_recipe
from .overrides import override
from .processes import Processes, join
from .recipes import Group, Images, Model, Optimizer, Phase, Recipe, Schedule
from .run import Run

__all__ = [
    "NAMED_RECIPES",
    "Cache",
    "Engine",
    "Group",
    "Images",
    "Model",
    "Optimizer",
    "Phase",
    "Processes",
    "Recipe",
    "Run",
    "Schedule",
    "build",
    "fit",
    "join",
    "named_recipe",
    "override",
    "train",
]
