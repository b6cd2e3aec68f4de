"""The events of a run: lines of ``metrics.jsonl``, and what the `watch` argument receives."""

from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from .._json import format_json, parse_json


@dataclass(frozen=True)
class PhaseStarted:
    """A phase begins. `views` and `augmentation` are set where it reads cached feature maps."""

    phase: str
    trained: int
    """Number of tensors that train."""
    views: int | None = None
    augmentation: str | None = None


@dataclass(frozen=True)
class StepDone:
    """A training step; `step` counts from 1 over all phases, `epoch` from 0 in the phase."""

    phase: str
    epoch: int
    step: int
    loss: float
    accuracy: float
    """Of the augmented images of the batch, in training mode, before the update."""
    rates: list[float]
    """The learning rate of each parameter group."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch was validated; `step` is its last one."""

    phase: str
    epoch: int
    step: int
    training_loss: float
    training_accuracy: float
    """Like the loss, the mean of the steps, weighted by their numbers of images."""
    validation_loss: float
    validation_accuracy: float
    validation_class_accuracy: float
    """The mean of the accuracies of the classes."""
    best: bool
    """Whether it is the best epoch of the run so far."""


@dataclass(frozen=True)
class ImagesValidated:
    """Progress of a validation; not in the metrics."""

    images: int


@dataclass(frozen=True)
class CacheMessage:
    """What the feature cache is going to store, or waits for; not in the metrics."""

    text: str


@dataclass(frozen=True)
class CacheProgress:
    """Feature maps of a split are computed, in all of `images`; not in the metrics."""

    split: str
    epoch: int
    images: int


@dataclass(frozen=True)
class TimeEstimated:
    """The seconds that all epochs may take, before the run starts; not in the metrics."""

    seconds: float


Metric = PhaseStarted | StepDone | EpochDone
"""The events of ``metrics.jsonl``."""
Event = Metric | ImagesValidated | CacheMessage | CacheProgress | TimeEstimated

_TYPES: dict[str, type[Metric]] = {"phase": PhaseStarted, "step": StepDone, "epoch": EpochDone}

_ADAPTERS = {name: TypeAdapter(kind) for name, kind in _TYPES.items()}


def encode(event: Metric) -> str:
    """One line of the metrics, without its end."""
    name = next(name for name, kind in _TYPES.items() if isinstance(event, kind))
    values = {key: value for key, value in asdict(event).items() if value is not None}
    return format_json({"event": name} | values, separators=(",", ":"))


def decode(line: bytes | str) -> Metric:
    """The inverse of `encode`. Raises: ValueError for other lines."""
    values = parse_json(line)
    name = values.pop("event", None) if isinstance(values, dict) else None
    if name not in [*_TYPES]:
        raise ValueError(f"{line[:80]!r}")
    return _ADAPTERS[name].validate_python(values)
