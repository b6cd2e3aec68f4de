"""What a single argument may be: each kind of argument is described once.

A `Kind` has the requirement in words, two tests and the normal form of a value. `check_argument`
raises TypeError for a value of the wrong type and ValueError for a value out of range.
"""

import numbers
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import refuse, type_name


class Kind(NamedTuple):
    """A kind of argument."""

    words: str
    """The requirement, to stand behind "must be"."""
    has_type: Callable[[Any], bool]
    holds: Callable[[Any], bool] = lambda value: True
    """Whether a value of the right type is in range."""
    normalize: Callable[[Any], Any] = lambda value: value
    """The normal form of a valid value: the one that layers keep and files contain."""
    remedy: str = ""

    def accepts(self, value: Any) -> bool:
        return self.has_type(value) and self.holds(value)


def check_argument(op: str, name: str, value: Any, kind: Kind) -> None:
    """Raise TypeError or ValueError unless `value` is of this kind."""
    if not kind.has_type(value):
        received = repr(value) if isinstance(value, (str, type(None))) else type_name(value)
        refuse(TypeError, op, f"{name} must be {kind.words}", received, kind.remedy)
    if not kind.holds(value):
        refuse(ValueError, op, f"{name} must be {kind.words}", repr(value), kind.remedy)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 1


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


# Dynamo of PyTorch 2.6 cannot read attributes of sys.float_info.
_SMALLEST_NORMAL, _LARGEST = sys.float_info.min, sys.float_info.max


def _is_normal(value: Any) -> bool:
    return _SMALLEST_NORMAL <= value <= _LARGEST


def _is_listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _optional(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def choice(*values: str | None, remedy: str = "") -> Kind:
    """One of the given strings, or None where that is given."""
    *first, last = map(repr, values)
    words = f"{', '.join(first)} or {last}" if first else last

    def holds(value: Any) -> bool:
        return (value is None or isinstance(value, str)) and value in values

    return Kind(words, lambda value: True, holds, remedy=remedy)


def number_to(largest: float, remedy: str = "") -> Kind:
    """A number from 0 to `largest`."""
    words = f"a number from 0 to {largest:g}"
    return Kind(words, _is_real, lambda v: 0 <= v <= largest, float, remedy)


def channel_counts(words: str, least: int, most: float) -> Kind:
    """The channels of each feature map: an integer for one, else a list of integers."""

    def holds(value: Any) -> bool:
        counts = as_list(value)
        return all(map(_is_count, counts)) and least <= len(counts) <= most

    def has_type(value: Any) -> bool:
        return all(map(_is_integer, as_list(value)))

    remedy = "Pass an integer for one feature map, a list with one integer for each of several."
    return Kind(words, has_type, holds, plain_channels, remedy)


def as_list(channels: Any) -> list[Any]:
    """The channels of each feature map in a list."""
    return list(channels) if _is_listed(channels) else [channels]


def plain_channels(channels: Any) -> Any:
    """An int, or a list of ints."""
    return [int(c) for c in channels] if _is_listed(channels) else int(channels)


WHOLE = Kind("a non-negative integer", _is_integer, lambda v: v >= 0, int)
COUNT = Kind("a positive integer", _is_integer, _is_count, int)
STEP_COUNT = Kind("an integer from 1 to 1000", _is_integer, lambda v: 1 <= v <= 1000, int)
SEED = Kind(
    "None or a non-negative integer",
    _optional(_is_integer),
    _optional(lambda v: v >= 0),
    lambda v: None if v is None else int(v),
    "None draws from entropy of the operating system.",
)
_CONSTANT = "It is a Python or NumPy number, a constant that is never traced."
EPS = Kind(
    "0 or a normal positive number", _is_real, lambda v: v == 0 or _is_normal(v), float, _CONSTANT
)
FLOOR = Kind("a normal positive number", _is_real, _is_normal, float, _CONSTANT)
SLOPE = Kind(
    "None or a normal positive number",
    _optional(_is_real),
    _optional(_is_normal),
    _optional_float,
    _CONSTANT,
)
FLAG = Kind("True or False", lambda v: isinstance(v, bool))
_MEAN = "'mean' divides by the number of valid locations."
REDUCTIONS = ("mean", "sum")
REDUCTION = choice(*REDUCTIONS, remedy=_MEAN)
SKETCH_REDUCTION = choice(*REDUCTIONS, "none", remedy=_MEAN)
ROOT = choice(
    "signed",
    "shifted",
    "unsigned",
    remedy="'signed' jumps at 0, 'shifted' is continuous, 'unsigned' is for values >= 0.",
)
NORM = choice("floor", "added", remedy="'floor' is max(‖z‖, eps), 'added' is √(‖z‖² + eps).")
SKETCH_METHOD = choice(
    "tensor_sketch",
    "random_maclaurin",
    remedy="Both estimate the bilinear kernel; the sketch has smaller tables.",
)
ROOT_METHOD = choice(
    "newton_schulz",
    "eigen",
    remedy="'newton_schulz' is `steps` steps of an iteration, 'eigen' the exact root.",
)
NORMALIZATION = choice(
    "trace", "frobenius", remedy="The iteration needs a matrix of norm below √3."
)
ACTIVATION = choice(None, "tanh", "relu", "sigmoid", remedy="None leaves the projections linear.")
RELU = choice(None, "relu", remedy="None leaves the projection linear.")
SHARE = number_to(1)
POSITIVE_SHARE = Kind("a number above 0 and at most 1", _is_real, lambda v: 0 < v <= 1, float)
TOLERANCE = Kind(
    "None or a number of at least 0 and below 1",
    _optional(_is_real),
    _optional(lambda v: 0 <= v < 1),
    _optional_float,
    "It is a fraction of the largest eigenvalue; None is C times the unit roundoff.",
)
ONE_OR_TWO = channel_counts("a positive integer or a list of one or two of those", 1, 2)
PAIR_OR_ONE = ONE_OR_TWO._replace(
    words="a positive integer or a pair of those",
    holds=lambda v: ONE_OR_TWO.holds(v) and (not _is_listed(v) or len(v) == 2),
)
SEVERAL = channel_counts("a list of two or more positive integers", 2, float("inf"))
POOL = Kind("a layer", lambda v: True)
DATA_FORMAT = choice("channels_first", "channels_last")
