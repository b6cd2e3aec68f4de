"""Recipes: all there is to say of a training run, as plain data of no framework.

A recipe is a model, the images it sees, and phases one after the other; `to_json` and
`from_json` carry it, and whatever cannot be is refused with the name of the field.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..contract import message, refuse
from ..models.plans import BACKBONES, DTYPES, is_count
from . import schedules

FORMAT = "bilinear-recipe"
VERSION = 1

MAX_BACKBONE_RATE = 0.1
"""Of a phase in which more than the head trains. Published rates there are 1e-4 to 1e-2; the 1.0
of published heads on unit descriptors destroys a backbone within a few steps."""

_REMEDY = "Correct the recipe."


@dataclass(frozen=True)
class Model:
    """The arguments of `BCNN` that a recipe decides; `weights` None starts from the seed."""

    backbone: str = "vgg16"
    backbone_b: str | None = None
    pool: str | None = None
    projection: int | None = None
    taps: tuple[str, ...] | None = None
    weights: str | None = "imagenet"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        known = ", ".join(BACKBONES)
        for name in "backbone", "backbone_b":
            value = getattr(self, name)
            # a list, not the dict: values that cannot be hashed are refused like others
            holds = value in [*BACKBONES] or (value is None and name == "backbone_b")
            _check("Model", name, holds, f"one of {known}", value)
        for name in "pool", "weights":
            value = getattr(self, name)
            _check("Model", name, value is None or isinstance(value, str), "a name or null", value)
        whole = self.projection is None or is_count(self.projection)
        _check("Model", "projection", whole, "a positive integer or null", self.projection)
        _freeze(self, "taps", optional=True)
        _check("Model", "dtype", self.dtype in [*DTYPES], f"one of {', '.join(DTYPES)}", self.dtype)


@dataclass(frozen=True)
class Images:
    """What is cut out of each picture: `size` pixels of it resized to `resize` (None: to fit).

    With `square` both sides are resized, whatever the aspect, else the shorter one. In training
    the place is random, with `random_crop`, and every other crop is mirrored, with `flip`;
    validation takes the middle as it is.
    """

    size: int = 448
    resize: int | None = None
    square: bool = False
    random_crop: bool = True
    flip: bool = True

    def __post_init__(self) -> None:
        _check("Images", "size", is_count(self.size), "a positive integer", self.size)
        fits = self.resize is None or (is_count(self.resize) and self.resize >= self.size)
        _check("Images", "resize", fits, "null or an integer from size up", self.resize)
        for name in "square", "random_crop", "flip":
            value = getattr(self, name)
            _check("Images", name, isinstance(value, bool), "true or false", value)


@dataclass(frozen=True)
class Group:
    """Parameters that train alike: a part (see `parts`), its rate and its weight decay."""

    part: str
    rate: float
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("Group", "part", bool(self.part) and isinstance(self.part, str), "text", self.part)
        _check("Group", "rate", _is_number(self.rate, above=0), "a number above 0", self.rate)
        holds = _is_number(self.weight_decay)
        _check("Group", "weight_decay", holds, "a number from 0 up", self.weight_decay)


@dataclass(frozen=True)
class Optimizer:
    """torch's SGD: ``g ← g + wd·w``, ``buffer ← momentum·buffer + g``, ``w ← w − rate·buffer``."""

    name: str = "sgd"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check("Optimizer", "name", self.name == "sgd", "'sgd'", self.name)
        holds = _is_number(self.momentum) and self.momentum < 1
        _check("Optimizer", "momentum", holds, "a number from 0 up, below 1", self.momentum)


KINDS = ("constant", "step", "cosine", "plateau")


@dataclass(frozen=True)
class Schedule:
    """By what the rates are multiplied (see `schedules`), after a rise over `warmup` steps."""

    kind: str = "constant"
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    patience: int = 3
    warmup: int = 0

    def __post_init__(self) -> None:
        _check("Schedule", "kind", self.kind in KINDS, f"one of {', '.join(KINDS)}", self.kind)
        _freeze(self, "milestones")
        rising = all(map(is_count, self.milestones))
        _check("Schedule", "milestones", rising, "positive integers", self.milestones)
        needed = bool(self.milestones) == (self.kind == "step")
        _check("Schedule", "milestones", needed, f"fit for {self.kind!r}", self.milestones)
        holds = _is_number(self.factor, above=0) and self.factor < 1
        _check("Schedule", "factor", holds, "a number between 0 and 1", self.factor)
        for name in "patience", "warmup":
            value = getattr(self, name)
            _check("Schedule", name, value == 0 or is_count(value), "an integer from 0 up", value)

    def scale(self, *, epoch: int, step: int, steps: int, history: Sequence[float]) -> float:
        """At `step` of the `steps` of a phase, in `epoch`, after the validations in `history`."""
        rise = schedules.warmup(step, self.warmup)
        if self.kind == "step":
            return rise * schedules.step(epoch, self.milestones, self.factor)
        if self.kind == "cosine":
            return rise * schedules.cosine(step, steps)
        if self.kind == "plateau":
            return rise * schedules.plateau(history, self.patience, self.factor)
        return rise


@dataclass(frozen=True)
class Phase:
    """Some epochs in which the same parts train.

    A parameter belongs to the first of `groups` that names it; what none names is frozen, its
    BatchNorms in evaluation mode. The phase starts from the ``"best"`` or the ``"last"`` weights
    of the one before, with the part `reinitialize` drawn anew, and ends after `epochs`, or after
    `patience` epochs in a row without a better validation.
    """

    name: str
    groups: tuple[Group, ...]
    epochs: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    patience: int | None = None
    start: str = "best"
    reinitialize: str | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and self.name.replace("-", "").isalnum()
        _check("Phase", "name", named, "letters, digits and hyphens", self.name)
        _freeze(self, "groups")
        _check("Phase", "groups", bool(self.groups), "one group at least", self.groups)
        _check("Phase", "epochs", is_count(self.epochs), "a positive integer", self.epochs)
        patient = self.patience is None or is_count(self.patience)
        _check("Phase", "patience", patient, "null or a positive integer", self.patience)
        _check("Phase", "start", self.start in ("best", "last"), "'best' or 'last'", self.start)
        part = self.reinitialize
        _check("Phase", "reinitialize", part is None or isinstance(part, str), "a part", part)


MONITORS = ("loss", "accuracy")


@dataclass(frozen=True)
class Recipe:
    """A run: `monitor` is what of the validation decides which epoch is best.

    `seed` is of the initial weights, the order of the images and their augmentation. `source`
    says where the numbers come from. Raises: ValueError that names the field.
    """

    name: str
    model: Model
    phases: tuple[Phase, ...]
    images: Images = field(default_factory=Images)
    batch_size: int = 32
    monitor: str = "loss"
    seed: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and bool(self.name)
        _check("Recipe", "name", named, "text", self.name)
        _freeze(self, "phases")
        _check("Recipe", "phases", bool(self.phases), "one phase at least", self.phases)
        names = [phase.name for phase in self.phases]
        _check("Recipe", "phases", len(set(names)) == len(names), "of different names", names)
        whole = is_count(self.batch_size)
        _check("Recipe", "batch_size", whole, "a positive integer", self.batch_size)
        known = " or ".join(map(repr, MONITORS))
        _check("Recipe", "monitor", self.monitor in MONITORS, known, self.monitor)
        seeded = self.seed == 0 or is_count(self.seed)
        _check("Recipe", "seed", seeded, "an integer from 0 up", self.seed)
        _check("Recipe", "source", isinstance(self.source, str), "text", self.source)

    def to_json(self) -> str:
        data = {"format": FORMAT, "version": VERSION} | dataclasses.asdict(self)
        return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The inverse of `to_json`. Raises: ValueError that names what is missing or wrong."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            _refuse("recipe", "must be JSON", f"{error}")
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            _refuse("recipe", f"format must be {FORMAT!r}", repr(data)[:80])
        if data.get("version") != VERSION:
            _refuse("recipe", f"version must be {VERSION}", repr(data.get("version")))
        del data["format"], data["version"]
        return _made(cls, data, "recipe")

    def checksum(self) -> str:
        """Of the whole recipe: sha256 in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


_NESTED: Mapping[tuple[type, str], tuple[type, bool]] = {
    (Recipe, "model"): (Model, False),
    (Recipe, "images"): (Images, False),
    (Recipe, "phases"): (Phase, True),
    (Phase, "groups"): (Group, True),
    (Phase, "optimizer"): (Optimizer, False),
    (Phase, "schedule"): (Schedule, False),
}
"""Fields that hold data of another class, one or several."""


def _made(kind: Any, data: Any, where: str) -> Any:
    """An instance of a dataclass from what JSON has of it; errors name the way to the field."""
    if not isinstance(data, dict):
        _refuse(where, "must be an object", repr(data)[:80])
    fields = {f.name: f for f in dataclasses.fields(kind)}
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if unknown := sorted(data.keys() - fields.keys()):
        _refuse(where, f"has the fields {', '.join(fields)}", f"unknown {unknown}")
    if missing := sorted(required - data.keys()):
        _refuse(where, f"needs {', '.join(sorted(required))}", f"no {missing}")
    values = {}
    for name, value in data.items():
        inner, many = _NESTED.get((kind, name), (None, False))
        if inner is None:
            values[name] = value
        elif not many:
            values[name] = _made(inner, value, f"{where}.{name}")
        elif isinstance(value, list):
            values[name] = [_made(inner, v, f"{where}.{name}[{i}]") for i, v in enumerate(value)]
        else:
            _refuse(f"{where}.{name}", "must be a list", repr(value)[:80])
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _refuse(where: str, invariant: str, received: str) -> NoReturn:
    raise ValueError(message(where, invariant, received, _REMEDY))


def _check(op: str, name: str, holds: bool, words: str, value: object) -> None:
    if not holds:
        refuse(ValueError, op, f"{name} must be {words}", repr(value), _REMEDY)


def _is_number(value: object, *, above: float | None = None) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value >= 0 if above is None else value > above


def _freeze(data: Any, name: str, *, optional: bool = False) -> None:
    """A list of JSON as the tuple that frozen data has."""
    value = getattr(data, name)
    listed = tuple(value) if isinstance(value, (list, tuple)) else None
    holds = listed is not None or (optional and value is None)
    _check(type(data).__name__, name, holds, "a list", value)
    object.__setattr__(data, name, listed)
