"""Recipes: a training run as plain data, independent of any framework.

A recipe is a model, the images it sees, and a sequence of phases. `Recipe.to_json` and
`Recipe.from_json` store it. Every value is validated by pydantic when an object is created.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from ..contract import refuse
from ..models.pools import has_unit_length, named_pool
from .optimizers import Optimizer, Schedule
from .recipe_images import Images
from .recipe_model import Model
from .validation import Count, Natural, NonNegative, Positive, Text, reject, validated

FORMAT = "bilinear-recipe"
VERSION = 1

MAX_BACKBONE_LEARNING_RATE = 0.1
"""Largest learning rate of backbone parameters: the 1.0 of classifiers destroys a backbone."""
UNIT_LEARNING_RATE, PLAIN_LEARNING_RATE = 1.0, 0.01
"""Learning rates of classifiers, in every phase, on descriptors of norm 1 and on others. The
values of a descriptor of norm 1 are small, and so are the gradients of its classifier."""
ADAMW_LEARNING_RATE = 0.001
"""That of AdamW, whose steps do not depend on the size of the gradients."""
MAX_PLAIN_LEARNING_RATE = 0.1
"""Largest learning rate with AdamW, or where descriptors do not have norm 1:
`UNIT_LEARNING_RATE` diverges."""


@validated
class Group:
    """A parameter group: parameters with one learning rate and one weight decay.

    Args:
        parameters: which ones: ``"all"``, ``"head"``, ``"last:n"`` or the beginning of a
            canonical name, see `bilinear.train.parameter_groups`.
        learning_rate: above 0, and at most 0.1 for backbone parameters. Default: None, which is
            for groups without them: 1.0 if the pool gives descriptors of norm 1, otherwise 0.01,
            and 0.001 with AdamW.
        weight_decay: 0 or more; `Optimizer` has the formula. Default: 0.
    """

    parameters: Text
    learning_rate: Positive | None = None
    weight_decay: NonNegative = 0.0


@validated
class Phase:
    """A number of epochs in which the same parameters train.

    Args:
        name: up to 50 letters, digits, hyphens and underscores, a part of the name of a file;
            different in every phase of a recipe.
        groups: parameter groups. A parameter belongs to the first group that selects it. A
            parameter in no group is frozen, and its BatchNorm layers are in evaluation mode.
        epochs: the largest number of epochs, at most a million.
        optimizer: default: SGD with momentum 0.9.
        schedule: default: constant learning rates.
        patience: stop after this many epochs in a row without improvement. Default: None.
        start: start from the ``"best"`` (the default) or the ``"last"`` weights of the previous
            phase.
        reinitialize: draw new initial values for these parameters, selected as in `Group`, when
            the phase starts. Default: None.
    """

    name: Annotated[str, Field(pattern=r"^[\w-]+$", max_length=50)]
    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    epochs: Annotated[Count, Field(le=1_000_000)]
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    patience: Count | None = None
    start: Literal["best", "last"] = "best"
    reinitialize: Text | None = None

    def is_over(self, history: Sequence[float]) -> bool:
        """Whether `epochs` are done, or the last `patience` of them were not the best so far."""
        if len(history) >= self.epochs:
            return True
        if self.patience is None or len(history) <= self.patience:
            return False
        return min(history[-self.patience :]) >= min(history[: -self.patience])


@validated
class Recipe:
    """A training run.

    Args:
        name: any text.
        model: see `Model`.
        phases: one or more, in order.
        images: see `Images`.
        batch_size: default: 32.
        accumulate: compute the gradient of each batch as the sum over this many parts of equal
            size, one after the other, which takes less memory; a divisor of `batch_size`. A smaller
            last batch has fewer parts. BatchNorm normalizes each part. Default: 1.
        drop_last: leave out the last training batch of an epoch if it is smaller. Default: False.
        label_smoothing: ε, at least 0, below 1: the target of an image is ``1 − ε`` for its class
            plus ``ε / classes`` for every class. Default: 0.
        class_weights: None (the default), or ``"balanced"``: the cross-entropy of class ``c`` is
            multiplied by ``images / (classes · images of c)``, and the mean over a batch is divided
            by the mean weight of its images, as in PyTorch's ``cross_entropy``. Both change
            training only, not the validation loss.
        ema: the largest decay of an exponential moving average of the weights, above 0, below 1:
            in each step of a phase, after ``t`` others, ``average ← d·average + (1 − d)·weight``
            with ``d = min(ema, (1 + t) / (10 + t))``. It starts at the weights of the start of the
            phase. Validation and the files of models use the averages, also of BatchNorm
            statistics. Default: None, no averages.
        monitor: the validation measure that chooses the best epoch: ``"loss"`` (the default),
            ``"accuracy"``, or ``"mean_class_accuracy"``, the mean of the accuracies of the classes.
            Of epochs with equal accuracy the one with the smaller loss is better; patience and the
            schedule ``"plateau"`` compare accuracies only.
        seed: of the initial weights, the order of the images and the augmentation. Default: 0.
        source: where the values come from. Default: empty.

    Raises: ValueError that names the path to the field, such as ``phases.0.epochs``.
    """

    name: Text
    model: Model
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    images: Images = field(default_factory=Images)
    batch_size: Count = 32
    accumulate: Count = 1
    drop_last: StrictBool = False
    label_smoothing: Annotated[NonNegative, Field(lt=1)] = 0.0
    class_weights: Literal["balanced"] | None = None
    ema: Annotated[Positive, Field(lt=1)] | None = None
    monitor: Literal["loss", "accuracy", "mean_class_accuracy"] = "loss"
    seed: Natural = 0
    source: str = ""

    @field_validator("phases")
    @classmethod
    def _check_names(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        names = [phase.name for phase in phases]
        return phases if len({*names}) == len(names) else reject("named differently")

    @field_validator("accumulate")
    @classmethod
    def _check_parts(cls, parts: int, info: ValidationInfo) -> int:
        size = info.data.get("batch_size", parts)
        return parts if size % parts == 0 else reject(f"a divisor of batch_size, {size}")

    def __post_init__(self) -> None:
        for i, phase in enumerate(self.phases):
            default = self._default_learning_rate(phase)
            reason = f"{self._pool['name']}, whose output does not have norm 1"
            if phase.optimizer.name == "adamw":
                reason = "adamw, whose steps have about this size"
            for j, rate in enumerate(self.learning_rates(phase)):
                if rate > MAX_PLAIN_LEARNING_RATE and default != UNIT_LEARNING_RATE:
                    field = f"phases.{i}.groups.{j}.learning_rate"
                    invariant = f"{field} must be at most {MAX_PLAIN_LEARNING_RATE} with {reason}"
                    remedy = f"Use --set {field}=null, which is {default} there."
                    refuse(ValueError, "Recipe", invariant, f"{rate}", remedy)
        averaging = ["adamw"] if any(p.optimizer.name == "adamw" for p in self.phases) else []
        averaging += ["ema"] if self.ema is not None else []
        if averaging and self.model.dtype in ("float16", "bfloat16"):
            invariant = f"model.dtype must be float32 or float64 with {averaging[0]}"
            remedy = "Its averages change by less than half precision resolves; try --amp bfloat16."
            refuse(ValueError, "Recipe", invariant, self.model.dtype, remedy)

    @property
    def _pool(self) -> dict[str, Any]:
        return named_pool("Recipe: model.pool", self.model.pool, "")

    @property
    def has_unit_length(self) -> bool:
        """Whether the pool of the model gives descriptors of norm 1."""
        return has_unit_length(self._pool)

    def learning_rates(self, phase: Phase) -> list[float]:
        """The learning rates of the groups of a phase, before its schedule."""
        default = self._default_learning_rate(phase)
        given = (group.learning_rate for group in phase.groups)
        return [default if rate is None else rate for rate in given]

    def _default_learning_rate(self, phase: Phase) -> float:
        if phase.optimizer.name == "adamw":
            return ADAMW_LEARNING_RATE
        return UNIT_LEARNING_RATE if self.has_unit_length else PLAIN_LEARNING_RATE

    def to_json(self) -> str:
        data = {"format": FORMAT, "version": VERSION} | dataclasses.asdict(self)
        return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The inverse of `to_json`. Raises: ValueError that names what is missing or wrong."""
        remedy = "`bilinear train NAME --print` prints a valid one."
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            refuse(ValueError, "Recipe", "a recipe must be JSON", f"{error}", remedy)
        if not isinstance(data, dict):
            refuse(ValueError, "Recipe", "a recipe must be an object", repr(data)[:80], remedy)
        for key, wanted in ("format", FORMAT), ("version", VERSION):
            if (found := data.pop(key, None)) != wanted:
                refuse(ValueError, "Recipe", f"{key} must be {wanted!r}", f"{found!r}"[:80], remedy)
        return cls(**data)

    def checksum(self) -> str:
        """SHA-256 of the recipe, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
