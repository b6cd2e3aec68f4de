"""Which tensors a phase moves, by canonical name, and the proof that it moved no others.

A part is ``"all"``; ``"head"``, what follows the backbones (projections, what a pool learns, the
classifier); ``"last:n"``, the head and the last n layers of each backbone; or the beginning of
canonical names, up to a dot: ``"backbone.layer4"``, ``"classifier"``. A layer is a convolution
with the BatchNorm behind it, or a whole residual block.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from ..contract import refuse
from ..models import plans
from ..models.streams import Streams
from .recipes import MAX_BACKBONE_RATE, Group, Phase

if TYPE_CHECKING:  # an engine speaks of plans
    from .engines import Engine

BACKBONES = ("backbone", "backbone_b")


class Plan(NamedTuple):
    """What moves in a phase; everything else must stay as it is, bit by bit."""

    groups: tuple[tuple[str, ...], ...]
    """The parameters of each group of the phase, in canonical order."""
    decays: tuple[float, ...]
    statistics: frozenset[str]
    """Of the BatchNorms that are in training mode: those of which a parameter trains."""
    momentum: float

    @property
    def trained(self) -> dict[str, int]:
        """Parameter -> the number of its group."""
        return {name: number for number, group in enumerate(self.groups) for name in group}

    @property
    def is_of_the_head(self) -> bool:
        """Whether the backbones stay as they are, statistics too."""
        return not any(n.partition(".")[0] in BACKBONES for n in {*self.trained, *self.statistics})


def plan(phase: Phase, streams: Streams, tensors: Sequence[str], learned: Collection[str]) -> Plan:
    """The plan of a phase, for a model of these canonical `tensors`, of which some are `learned`.

    Raises: ValueError for a part that names nothing, a group for which nothing is left, a
        backbone of one's own of which only some would train, and a rate above
        `MAX_BACKBONE_RATE` where a backbone trains.
    """
    if phase.reinitialize is not None:  # for its error alone: now, not when the phase begins
        members(phase.reinitialize, streams, tensors)
    left = [name for name in tensors if name in learned]
    groups = []
    for group in phase.groups:
        part = members(group.part, streams, tensors)
        chosen = tuple(name for name in left if name in part)
        if not chosen:
            received = f"{group.part!r}, of which nothing is left that trains"
            _refuse(phase, "every group must have parameters of its own", received)
        _check_rate(phase, group, chosen)
        left = [name for name in left if name not in part]
        groups.append(chosen)
    trained = {name for group in groups for name in group}
    _check_own(phase, streams, trained, learned)
    layers = {_module(name) for name in trained}
    own = tuple(f"{prefix}." for prefix in _own(streams) if _any(prefix, trained))
    moving = {
        name
        for name in tensors
        if name not in learned
        and ((not plans.is_parameter(name) and _module(name) in layers) or name.startswith(own))
    }
    decays = tuple(group.weight_decay for group in phase.groups)
    return Plan(tuple(groups), decays, frozenset(moving), phase.optimizer.momentum)


def members(part: str, streams: Streams, tensors: Sequence[str]) -> frozenset[str]:
    """The canonical names of a part. Raises: ValueError for one that names nothing."""
    if part == "all":
        return frozenset(tensors)
    head = {name for name in tensors if name.partition(".")[0] not in BACKBONES}
    if part == "head":
        return frozenset(head)
    if part.startswith("last:"):
        return frozenset(head | _last(part, streams, tensors))
    found = frozenset(name for name in tensors if name == part or name.startswith(f"{part}."))
    if not found:
        known = "'all', 'head', 'last:n' or the beginning of a canonical name"
        remedy = "Such as 'backbone.layer4'; model.canonical() has the names."
        refuse(ValueError, "recipe", f"a part must be {known}", repr(part), remedy)
    return found


def _last(part: str, streams: Streams, tensors: Sequence[str]) -> set[str]:
    """What "last:n" names of the backbones."""
    count = part.removeprefix("last:")
    if not count.isdigit() or int(count) < 1 or _own(streams):
        invariant = "'last:n' must have a positive n, and backbones that are named"
        remedy = "Layers of a network of your own cannot be told apart."
        refuse(ValueError, "recipe", invariant, repr(part), remedy)
    chosen: set[str] = set()
    for prefix, backbone in zip(BACKBONES, streams.names, strict=False):
        layers = backbone_layers(str(backbone), streams.taps)
        if int(count) > len(layers):
            invariant = f"'last:n' must have n at most {len(layers)}, the layers of {backbone}"
            refuse(ValueError, "recipe", invariant, repr(part), "Use 'all'.")
        starts = tuple(f"{prefix}.{name}." for layer in layers[-int(count) :] for name in layer)
        chosen |= {name for name in tensors if name.startswith(starts)}
    return chosen


def backbone_layers(backbone: str, taps: Sequence[str] | None) -> list[tuple[str, ...]]:
    """The names, in the plan, of what makes each layer of a named backbone."""
    layers: list[tuple[str, ...]] = []
    for layer in plans.cut(backbone, taps):
        if isinstance(layer, (plans.Conv, plans.Block)):
            layers.append((layer.name,))
        elif isinstance(layer, plans.BatchNorm):
            layers[-1] += (layer.name,)
    return layers


def redrawn(part: str, engine: "Engine", seed: Sequence[int]) -> dict[str, np.ndarray]:
    """New initial values of a part, equal in every framework.

    Raises: ValueError for parts that are not drawn by the plan: pools, networks of one's own.
    """
    streams, tensors = engine.streams, engine.tensors()
    names = members(part, streams, list(tensors))
    classifier = tensors.get("classifier.weight")
    size = None if classifier is None else classifier.shape[1]
    head = plans.Head(engine.num_classes, size, streams.projections)
    entropy = int(np.random.SeedSequence(seed).generate_state(1)[0])
    drawn = plans.initial_tensors(*streams.pair, head, streams.taps, seed=entropy, dtype="float64")
    if others := sorted(names - drawn.keys()):
        invariant = "what is drawn anew must be of a named backbone, a projection or the classifier"
        remedy = "Name a part without it."
        refuse(ValueError, "recipe", invariant, f"{part!r}, of which is {others[0]!r}", remedy)
    return {name: drawn[name].astype(tensors[name].dtype) for name in names}


def check_moved(
    phase: Phase,
    plan: Plan,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    momenta: Mapping[str, np.ndarray],
) -> None:
    """After the first step of a phase: what moved is what its plan says.

    One tensor, or a whole layer, may stand still: behind ReLUs that give nothing its gradient is 0.
    Not so a whole backbone, projection, pool or classifier, unless its step was too small to
    round, which its `momenta` show, or unless the classifier is 0 and lets no gradient through.

    Raises: RuntimeError for a tensor that moved though it is frozen, for a group that did not move
        in one of these, and for a backbone none of whose BatchNorms that train counted the batch.
    """
    changed = {name for name, old in before.items() if not np.array_equal(old, after[name])}
    if astray := sorted(changed - plan.trained.keys() - plan.statistics):
        invariant = "what no group names must not move"
        _stop(phase, invariant, f"{len(astray)} tensors that did, the first {astray[0]!r}")
    reached = changed | {name for name, momentum in momenta.items() if momentum.any()}
    if not before.get("classifier.weight", np.ones(1)).any():
        reached |= {name for name in plan.trained if not name.startswith("classifier.")}
    for group, names in zip(phase.groups, plan.groups, strict=True):
        invariant = f"the group {group.part!r} must train"
        if not changed & set(names):
            _stop(phase, invariant, f"{len(names)} parameters, of which none moved")
        for prefix, inside in _by_prefix(names).items():
            if not reached & inside:
                received = f"{len(inside)} parameters of {prefix}, of which none moved"
                _stop(phase, invariant, received)
    layers = {_module(name) for name in plan.trained}
    counted = (name for name in sorted(plan.statistics) if _module(name) in layers)
    # a network of one's own may have other tensors that are not learned, and never move
    running = [name for name in counted if not plans.is_parameter(name)]
    for prefix, inside in _by_prefix(running).items():
        if not changed & inside:
            invariant = "the statistics of BatchNorms that train must move"
            _stop(phase, invariant, f"{len(inside)} of {prefix}, of which none did")


def _by_prefix(names: Iterable[str]) -> dict[str, set[str]]:
    """Names by what they are of: ``"backbone"``, ``"projection_b"``, ``"classifier"``."""
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(name.partition(".")[0], set()).add(name)
    return found


def _check_rate(phase: Phase, group: Group, names: Iterable[str]) -> None:
    deep = any(name.partition(".")[0] in BACKBONES for name in names)
    if deep and group.rate > MAX_BACKBONE_RATE:
        invariant = f"the rate of a backbone must be at most {MAX_BACKBONE_RATE}"
        _refuse(phase, invariant, f"{group.rate} for {group.part!r}")


def _check_own(
    phase: Phase, streams: Streams, trained: Collection[str], learned: Collection[str]
) -> None:
    """A network of one's own trains whole or not at all: its layers cannot be told apart."""
    for prefix in _own(streams):
        inside = {name for name in learned if name.startswith(f"{prefix}.")}
        if inside & set(trained) and not inside <= set(trained):
            received = f"{len(inside & set(trained))} of {len(inside)} parameters"
            _refuse(phase, f"{prefix}, a network of your own, trains whole or not at all", received)


def _own(streams: Streams) -> list[str]:
    """Prefixes of the backbones that are networks of the user's own."""
    return [p for p, name in zip(BACKBONES, streams.names, strict=False) if name is None]


def _any(prefix: str, names: Iterable[str]) -> bool:
    return any(name.startswith(f"{prefix}.") for name in names)


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _refuse(phase: Phase, invariant: str, received: str) -> NoReturn:
    refuse(ValueError, f"phase {phase.name!r}", invariant, received, "Correct the recipe.")


def _stop(phase: Phase, invariant: str, received: str) -> NoReturn:
    remedy = "The engine does not do what the recipe says; nothing of this phase was saved."
    refuse(RuntimeError, f"phase {phase.name!r}", invariant, received, remedy)
