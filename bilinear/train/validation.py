"""Frozen dataclasses whose fields pydantic validates, with the error texts of this library."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn, TypeVar, dataclass_transform, get_args

import pydantic.dataclasses
from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ..contract import refuse

LARGEST = 2**53
"""Every integer up to it has an exact float64, which is what many JSON readers use."""

Made = TypeVar("Made", bound=type)

Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Natural = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


def one_of(values: Iterable[Any]) -> AfterValidator:
    """Accept these values only."""
    known = tuple(values)

    def check(value: Any) -> Any:
        return value if value in known else reject(f"one of {', '.join(map(str, known))}")

    return AfterValidator(check)


def reject(requirement: str) -> NoReturn:
    """Refuse a value inside a validator: "{path} must be {requirement}"."""
    raise PydanticCustomError("requirement", "Input should be {words}", {"words": requirement})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def validated(cls: Made) -> Made:
    """Make a frozen dataclass whose creation raises ValueError with the path to a wrong field."""
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))(cls)
    create, names = made.__init__, [f.name for f in dataclasses.fields(made)]

    @functools.wraps(create)
    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        by_name = dict(zip(names, args, strict=False))
        try:  # values by name, so that errors have names in place of positions
            create(self, *args[len(names) :], **by_name, **kwargs)
        except ValidationError as error:
            _refuse(made, error.errors(include_url=False))

    made.__init__ = initialize
    return made


def _refuse(cls: Any, errors: list[ErrorDetails]) -> NoReturn:
    """Report the first error; an unknown field before one that is missing, as in a misspelling."""
    error = min(errors, key=lambda e: e["type"] != "unexpected_keyword_argument")
    if error["type"] == "value_error":  # of __post_init__, which has a text of its own
        raise error.get("ctx", {})["error"] from None
    path, owner = ".".join(map(str, error["loc"])), _owner(cls, error["loc"])
    remedy = f"help(bilinear.train.{owner.__name__}) describes the fields."
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(f.name for f in dataclasses.fields(owner))
        refuse(
            ValueError, cls.__name__, f"the fields of {owner.__name__} are {known}", path, remedy
        )
    if error["type"] == "missing":
        refuse(ValueError, cls.__name__, f"{path} is required", "no value", remedy)
    requirement = error["msg"].partition(" should ")[2]
    refuse(
        ValueError, cls.__name__, f"{path} must {requirement}", repr(error["input"])[:80], remedy
    )


def _owner(cls: Any, path: tuple[int | str, ...]) -> Any:
    """The dataclass that has the last field of a path."""
    for step in path[:-1]:
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        cls = _dataclass_in(types.get(str(step))) or cls
    return cls


def _dataclass_in(annotation: Any) -> Any:
    if dataclasses.is_dataclass(annotation):
        return annotation
    return next(filter(None, map(_dataclass_in, get_args(annotation))), None)
