"""The values of an event, under the names that TensorBoard and the trackers show.

======  ======================================================================
step    ``loss/step``, ``accuracy/step``, and ``learning_rate/GROUP`` for each
        parameter group
epoch   ``loss/training``, ``loss/validation``, ``accuracy/training``,
        ``accuracy/validation`` and ``accuracy/validation_class_mean``, the mean
        of the accuracies of the classes
phase   ``phase``: its number, from 1
======  ======================================================================
"""

from .events import Metric, PhaseStarted, StepDone
from .recipes import Recipe


def scalars(event: Metric, recipe: Recipe) -> dict[str, float]:
    """Name -> value, of the recipe of the run."""
    names = [phase.name for phase in recipe.phases]
    index = names.index(event.phase)
    if isinstance(event, PhaseStarted):
        return {"phase": index + 1}
    if isinstance(event, StepDone):
        groups = [group.parameters for group in recipe.phases[index].groups]
        rates = zip((f"learning_rate/{name}" for name in groups), event.rates, strict=True)
        return {"loss/step": event.loss, "accuracy/step": event.accuracy} | dict(rates)
    return {
        "loss/training": event.training_loss,
        "loss/validation": event.validation_loss,
        "accuracy/training": event.training_accuracy,
        "accuracy/validation": event.validation_accuracy,
        "accuracy/validation_class_mean": event.validation_class_accuracy,
    }
