"""The weights that a phase starts from."""

from collections.abc import Mapping

import numpy as np

from .engines import Engine
from .parameter_groups import draw_tensors
from .progress import Progress
from .recipes import Recipe
from .run import Run, read_tensors


def starting_tensors(
    recipe: Recipe,
    engine: Engine,
    tensors: Mapping[str, np.ndarray],
    run: Run,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The tensors that the start of the present phase changes; a repetition gives the same.

    `tensors` are those of the engine.

    Raises: ValueError for a file of the phase before that another program changed.
    """
    index = progress.phase
    phase, changed = recipe.phases[index], {}
    if index and phase.start == "best":
        best = run.best_of_phase(index - 1, recipe.phases[index - 1].name)
        changed = read_tensors(best, tensors, progress.chosen)
    if phase.reinitialize is not None:
        model, seed = (engine.streams, engine.num_classes, tensors), [recipe.seed, index]
        changed |= draw_tensors(phase.reinitialize, *model, seed)
    return changed
