"""The pools a file can carry, without any framework: arguments, descriptor sizes and tensors.

A pool's description is ``{"name": class, **arguments}``, arguments JSON scalars, lists of integers
or, in "pool", the description of the pool within. Its tensors are named as the layer names them.
"""

import math
import numbers
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..contract import refuse
from ..contract.packed import packed_size
from .plans import is_count

UPGRADE = "Upgrade bilinear: pip install -U bilinear"


class Rule(NamedTuple):
    """What an argument may be, in words and as a test, and the one form a file has of it."""

    words: str
    holds: Callable[[Any], bool]
    form: Callable[[Any], Any] = lambda value: value


class Table(NamedTuple):
    """A tensor of a pool: integers of a range, or, without one, learned numbers."""

    shape: tuple[int, ...]
    dtype: str | None = None
    """None is the model's."""
    values: range | None = None


Arguments = Mapping[str, Any]
Sizes = Sequence[int]


class Pool(NamedTuple):
    """One class: what makes it again, and what follows from that and the maps' channels."""

    arguments: Mapping[str, Rule]
    size: Callable[[Arguments, Sizes], int]
    tensors: Callable[[Arguments, Sizes], dict[str, Table]] = lambda arguments, channels: {}
    maps: tuple[int, float] = (1, 2)
    """How many maps it takes, at least and at most."""
    optional: Mapping[str, Any] = {}
    """Arguments that are left out where they have this value."""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2.0**1023  # an int may have no float


def _is_normal(value: Any) -> bool:
    return _is_number(value) and value >= sys.float_info.min


def _float(value: Any) -> Any:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_real else value


def _int(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_int(v) for v in value]
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return int(value) if is_whole else value


def _one_of(*values: object) -> Rule:
    words = " or ".join(map(repr, values))
    return Rule(words, lambda v: isinstance(v, (str, type(None))) and v in values)


COUNT = Rule("a positive integer", is_count, _int)
SEED = Rule("an integer from 0 up", lambda v: type(v) is int and v >= 0, _int)
MAYBE_SEED = Rule("null or an integer from 0 up", lambda v: v is None or SEED.holds(v), _int)
EPS = Rule(
    "0 or a normal positive number",
    lambda v: _is_number(v) and (v == 0 or _is_normal(v)),
    _float,
)
FLOOR = Rule("a normal positive number", _is_normal, _float)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
REDUCTION = _one_of("mean", "sum")
CHANNELS = Rule(
    "a positive integer or a list of those",
    lambda v: is_count(v) or (isinstance(v, list) and len(v) > 0 and all(map(is_count, v))),
    _int,
)
PAIR = Rule(
    "a positive integer or a pair of those",
    lambda v: CHANNELS.holds(v) and (is_count(v) or len(v) == 2),
    _int,
)
INNER = Rule("the description of a pool", lambda v: isinstance(v, Mapping))
SHARE = Rule("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1, _float)
DAMPING = Rule("a number above 0, at most 1", lambda v: SHARE.holds(v) and v > 0, _float)
TOL = Rule(
    "null or a number from 0 up, below 1",
    lambda v: v is None or (SHARE.holds(v) and v < 1),
    _float,
)
ROOT = {
    "method": _one_of("newton_schulz", "eigen"),
    "steps": COUNT,
    "normalize": _one_of("trace", "frobenius"),
    "tol": TOL,
}
FORM = _one_of("signed", "shifted", "unsigned")
SLOPE = Rule("null or a normal positive number", lambda v: v is None or _is_normal(v), _float)
POWER = {"eps": EPS, "l2_eps": FLOOR}


def _outer(arguments: Arguments, channels: Sizes) -> int:
    return channels[0] * channels[-1]


def _triangle(arguments: Arguments, channels: Sizes) -> int:
    return packed_size(channels[0])


def _bilinear(arguments: Arguments, channels: Sizes) -> int:
    return (_triangle if arguments.get("packed") else _outer)(arguments, channels)


def _sketches(arguments: Arguments, channels: Sizes) -> dict[str, Table]:
    c, d, dim = channels[0], channels[-1], arguments["dim"]
    signs = range(-1, 2, 2)
    if arguments["method"] == "random_maclaurin":
        shapes = {"w1": (c, dim), "w2": (d, dim)}
        return {name: Table(shape, "int8", signs) for name, shape in shapes.items()}
    tables = {}
    for number, size in ("1", c), ("2", d):
        tables[f"h{number}"] = Table((size,), "int64", range(dim))
        tables[f"s{number}"] = Table((size,), "int8", signs)
    return tables


def _low_rank(arguments: Arguments, channels: Sizes) -> dict[str, Table]:
    width = arguments["dim"] * arguments["rank"]
    return {"u": Table((channels[0], width)), "v": Table((channels[-1], width))}


def _scores(arguments: Arguments, channels: Sizes) -> dict[str, Table]:
    classes, negative = arguments["num_classes"], arguments["rank"] // 2
    shape = classes, channels[0]
    plus, minus = Table((*shape, arguments["rank"] - negative)), Table((*shape, negative))
    return {"u_plus": plus, "u_minus": minus, "bias": Table((classes,))}


def _levels(arguments: Arguments, channels: Sizes) -> dict[str, Table]:
    return {f"u{i}": Table((c, arguments["dim"])) for i, c in enumerate(channels, 1)}


def _inner(arguments: Arguments, channels: Sizes) -> dict[str, Table]:
    found = tensors(arguments["pool"], channels)
    return {f"pool.{name}": table for name, table in found.items()}


POOLS: dict[str, Pool] = {
    "BilinearPool": Pool(
        {"reduction": REDUCTION}
        | POWER
        | {"packed": FLAG, "root": FORM, "slope_eps": SLOPE, "norm": _one_of("floor", "added")},
        _bilinear,
        optional={"packed": False, "root": "signed", "slope_eps": None, "norm": "floor"},
    ),
    "CompactBilinearPool": Pool(
        {"channels": PAIR, "dim": COUNT, "method": _one_of("tensor_sketch", "random_maclaurin")}
        | {"seed": MAYBE_SEED, "reduction": REDUCTION}
        | POWER,
        lambda arguments, channels: arguments["dim"],
        _sketches,
    ),
    "CovariancePool": Pool(ROOT | {"isometric": FLAG}, _triangle, maps=(1, 1)),
    "ImprovedBilinearPool": Pool(
        ROOT | {"reduction": REDUCTION, "root": FORM} | POWER, _outer, maps=(1, 1)
    ),
    "LowRankBilinearPool": Pool(
        {"channels": CHANNELS, "dim": COUNT, "rank": COUNT}
        | {"activation": _one_of(None, "tanh", "relu", "sigmoid"), "seed": SEED}
        | {"reduction": REDUCTION}
        | POWER,
        lambda arguments, channels: arguments["dim"],
        _low_rank,
    ),
    "LowRankBilinearClassifier": Pool(
        {"channels": COUNT, "num_classes": COUNT, "rank": COUNT}
        | {"seed": SEED, "reduction": REDUCTION},
        lambda arguments, channels: arguments["num_classes"],
        _scores,
        maps=(1, 1),
    ),
    "HierarchicalBilinearPool": Pool(
        {"channels": CHANNELS, "dim": COUNT, "seed": SEED, "reduction": REDUCTION} | POWER,
        lambda arguments, channels: arguments["dim"] * math.comb(len(channels), 2),
        _levels,
        maps=(2, math.inf),
    ),
    "DemocraticPool": Pool(
        {"pool": INNER, "gamma": SHARE, "damping": DAMPING, "steps": COUNT, "eps": FLOOR}
        | {"weight_eps": FLOOR, "detach_target": FLAG},
        lambda arguments, channels: size(arguments["pool"], channels),
        _inner,
        maps=(1, 1),
    ),
    "OuterMaxPool": Pool(POWER, _outer),
    "AveragePool": Pool({}, lambda arguments, channels: channels[0], maps=(1, 1)),
}
"""Class name -> what a file says of it."""


def counted(least: float, most: float) -> str:
    if least == most:
        return "one map" if least == 1 else f"{least} maps"
    return f"{least} maps or more" if most == math.inf else f"{least} to {most} maps"


def fits(found: Any, wanted: Any) -> bool:
    """Whether a pool's channels (or classes) are those of the maps; one number is of one map."""
    if isinstance(wanted, tuple):
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return found == wanted


def size(pooling: Mapping[str, Any], channels: Sizes) -> int:
    """The length of the descriptor of maps of these channels."""
    return POOLS[pooling["name"]].size(pooling, channels)


def tensors(pooling: Mapping[str, Any], channels: Sizes) -> dict[str, Table]:
    """The pool's tensors by name, without the prefix they have in a model."""
    return POOLS[pooling["name"]].tensors(pooling, channels)


def is_classifier(pooling: Mapping[str, Any]) -> bool:
    """Whether the pool gives logits, so that no classifier follows it."""
    return "num_classes" in pooling


def _check_root(op: str, pooling: Mapping[str, Any], remedy: str) -> None:
    """ValueError for a root that no layer has with its eps."""
    root, eps = pooling.get("root", "signed"), pooling.get("eps")
    if root == "unsigned" and eps == 0:
        refuse(ValueError, op, "the unsigned root needs eps > 0", f"{eps!r}", remedy)
    if pooling.get("slope_eps") is not None and (root != "signed" or eps != 0):
        received = f"root={root!r}, eps={eps!r}"
        refuse(ValueError, op, "slope_eps needs the signed root without eps", received, remedy)


def check_pooling(
    op: str, pooling: Mapping[str, Any], channels: Sizes, num_classes: int, remedy: str
) -> None:
    """ValueError unless this is a pool of this version, for maps of these channels."""
    name = pooling["name"]
    if name not in POOLS:
        known = ", ".join(POOLS)
        refuse(ValueError, op, f"the pooling must be one of {known}", repr(name), UPGRADE)
    pool, given = POOLS[name], pooling.keys() - {"name"}
    unknown = not given <= pool.arguments.keys()
    if unknown or not given >= pool.arguments.keys() - pool.optional:
        invariant = f"{name} has the arguments {', '.join(pool.arguments)}"
        refuse(ValueError, op, invariant, f"{sorted(given)}", UPGRADE if unknown else remedy)
    for argument in given:
        rule = pool.arguments[argument]
        if not rule.holds(pooling[argument]):
            invariant = f"{argument} of {name} must be {rule.words}"
            refuse(ValueError, op, invariant, repr(pooling[argument]), remedy)
    _check_root(op, pooling, remedy)
    if not pool.maps[0] <= len(channels) <= pool.maps[1]:
        invariant = f"{name} takes {counted(*pool.maps)}"
        refuse(ValueError, op, invariant, f"{len(channels)}", remedy)
    for argument, wanted in ("channels", tuple(channels)), ("num_classes", num_classes):
        if argument in pooling and not fits(pooling[argument], wanted):
            found = pooling[argument]
            refuse(ValueError, op, f"{argument} of {name} must be {wanted}", f"{found}", remedy)
    if pooling.get("packed") and len(channels) == 2:
        refuse(ValueError, op, "packed=True is for one map", "2 maps", remedy)
    if "pool" in pooling:
        check_pooling(op, pooling["pool"], channels, num_classes, remedy)
        if is_classifier(pooling["pool"]):
            refuse(ValueError, op, f"{name} is of a pool", repr(pooling["pool"]["name"]), remedy)
