"""The progress of a run: what its state holds beside the tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from .._json import parse_json
from ..contract import refuse
from .recipes import Phase
from .validation import Natural

DAMAGED = "Another program changed the files of the run; restore them or start a new run."

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


@dataclass
class Progress:
    """The state of a run beside its tensors, as JSON, which keeps floats bit by bit."""

    recipe: str
    """Checksum of the recipe."""
    data: str = ""
    """Checksum of the data, empty if none was given."""
    cache: str = ""
    """The `views` of the cache, if any: they decide which images the model sees."""
    phase: Natural = 0
    epoch: Natural = 0
    """In the phase."""
    passes: Natural = 0
    """Epochs of all phases; decides the order of the images."""
    batch: Natural = 0
    """The next batch of the epoch."""
    step: Natural = 0
    """Of all phases."""
    loss: Finite = 0.0
    """Sum over the images of the epoch so far."""
    correct: Natural = 0
    """Correct predictions of these images, each before the update of its batch."""
    images: Natural = 0
    history: list[list[Finite]] = field(default_factory=list)
    """Validation loss, accuracy and mean class accuracy of each epoch of the phase."""
    before: list[Finite] | None = None
    """The best of those of the phase before."""
    chosen: str = ""
    """Checksum of the file of the best epoch of the phase before."""
    best: list[Finite] | None = None
    """The `batches.rank` of the best epoch so far."""
    metrics: Natural = 0
    """Bytes of the metrics."""
    metrics_checksum: str = ""
    checksum: str = ""
    """Of the other fields and the tensors."""

    def end_epoch(self) -> None:
        self.passes, self.epoch = self.passes + 1, self.epoch + 1
        self.batch, self.loss, self.correct, self.images = 0, 0.0, 0, 0

    def end_phase(self, chosen: int, checksum: str) -> None:
        """Start the next phase; `chosen` is the best epoch of this one, in a file of `checksum`."""
        self.before, self.chosen = self.history[chosen], checksum
        self.phase, self.epoch, self.history = self.phase + 1, 0, []

    def check(self, op: str, phases: Sequence[Phase]) -> None:
        """Refuse a position that a run with these phases cannot have. Raises: ValueError."""
        lengths = [phase.epochs for phase in phases] + [1]  # after the last phase: epoch 0
        inside = self.phase < len(lengths) and self.epoch < lengths[self.phase]
        if not inside or not len(self.history) == self.epoch <= self.passes:
            invariant = "the state must be in one of the phases of the recipe"
            refuse(ValueError, op, invariant, f"epoch {self.epoch} of phase {self.phase}", DAMAGED)

    def check_same(self, other: "Progress") -> None:
        """Refuse another recipe, data or cache than in process 0. Raises: ValueError."""
        for what in "recipe", "data", "cache":
            first, own = getattr(self, what), getattr(other, what)
            if own != first:
                invariant = f"all processes must have the same {what}, {first!r} in process 0"
                remedy = "Give all of them the same files and options."
                refuse(ValueError, "train", invariant, repr(own), remedy)


def decode_progress(op: str, text: str | None) -> Progress:
    invariant = "the state must be one of this version"
    try:
        data = parse_json(text or "")
        if isinstance(data, dict) and data.keys() == {f.name for f in fields(Progress)}:
            return TypeAdapter(Progress).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        refuse(ValueError, op, invariant, f"{first['loc']}: {first['msg']}", DAMAGED)
    except ValueError:
        pass
    refuse(ValueError, op, invariant, f"{text}"[:80], DAMAGED)
