"""Which tensors a phase updates, by canonical name, and the check that no others changed.

A selector is one of:

- ``"all"``;
- ``"head"``: everything after the backbones: projections, parameters of the pool, classifier;
- ``"last:n"``: the head and the last n layers of each backbone, where a layer is a convolution
  with its BatchNorm, or a whole residual block;
- the beginning of canonical names, up to a dot: ``"backbone.layer4"``, ``"classifier"``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from ..contract import refuse
from ..models import plans
from ..models.streams import Streams
from .recipes import MAX_BACKBONE_LEARNING_RATE, Phase, Recipe

BACKBONES = ("backbone", "backbone_b")
MOMENTA = ("momentum", "exp_avg")
"""The buffers of an optimizer that are not 0 where a gradient was not."""


class Plan(NamedTuple):
    """What changes in a phase. Every other tensor must stay equal bit by bit."""

    groups: tuple[tuple[str, ...], ...]
    """The parameters of each group of the phase, in canonical order."""
    decays: tuple[float, ...]
    statistics: frozenset[str]
    """Statistics of the BatchNorm layers in training mode: those with a parameter that trains."""
    momentum: float
    adamw: tuple[float, float, float] | None = None
    """β₁, β₂ and epsilon of AdamW; None is SGD."""
    clip_norm: float | None = None
    """The largest norm of the gradient of all trained parameters together."""
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    part: int | None = None
    """The most images whose gradient is computed at once; None: all of a batch."""

    @property
    def trained(self) -> dict[str, int]:
        """Parameter -> index of its group."""
        return {name: index for index, group in enumerate(self.groups) for name in group}

    @property
    def backbones_are_frozen(self) -> bool:
        """Whether no backbone changes, statistics included."""
        return not any(_root(name) in BACKBONES for name in {*self.trained, *self.statistics})


def make_plans(
    recipe: Recipe,
    streams: Streams,
    tensors: Sequence[str],
    learned: Collection[str],
    class_weights: tuple[float, ...] | None,
) -> list[Plan]:
    """The plan of each phase. Raises: the errors of `make_plan`."""
    part = recipe.batch_size // recipe.accumulate if recipe.accumulate > 1 else None
    common = {"label_smoothing": recipe.label_smoothing, "class_weights": class_weights}
    plans = [make_plan(phase, streams, tensors, learned) for phase in recipe.phases]
    return [plan._replace(**common, part=part) for plan in plans]


def make_plan(
    phase: Phase, streams: Streams, tensors: Sequence[str], learned: Collection[str]
) -> Plan:
    """The plan of a phase for a model with these canonical `tensors`, some of them `learned`.

    Raises: ValueError for a selector without parameters, a group that earlier groups leave empty,
        a user-defined backbone that would train in part, and a backbone without a learning rate or
        with one above `MAX_BACKBONE_LEARNING_RATE`.
    """
    if phase.reinitialize is not None:  # report its error now, not when the phase starts
        select_tensors(phase.reinitialize, streams, tensors)
    left = [name for name in tensors if name in learned]
    groups = []
    for group in phase.groups:
        selected = select_tensors(group.parameters, streams, tensors)
        chosen = tuple(name for name in left if name in selected)
        if not chosen:
            received = f"{group.parameters!r}, whose parameters are all in earlier groups"
            remedy = "Put the narrower group first, or remove this one."
            _refuse(
                phase, "every group must have parameters that no other group has", received, remedy
            )
        has_backbone, rate = any(_root(name) in BACKBONES for name in chosen), group.learning_rate
        if has_backbone and (rate is None or rate > MAX_BACKBONE_LEARNING_RATE):
            most = "the learning rate of a backbone must be given, and be at most "
            most += f"{MAX_BACKBONE_LEARNING_RATE}"
            received = f"{rate} for {group.parameters!r}"
            _refuse(phase, most, received, "Put the head into a separate group, before this one.")
        left = [name for name in left if name not in selected]
        groups.append(chosen)
    trained = {name for group in groups for name in group}
    layers, others = {*map(_module, trained)}, [name for name in tensors if name not in learned]
    statistics = {n for n in others if not plans.is_parameter(n) and _module(n) in layers}
    for root in _custom_backbones(streams):
        inside = {name for name in learned if _root(name) == root}
        if trained & inside and not inside <= trained:
            invariant = f"{root}, a user-defined backbone, must train all of its parameters or none"
            received = f"{len(trained & inside)} of {len(inside)} parameters"
            _refuse(phase, invariant, received, f"Select {root!r}, 'all' or 'head'.")
        if trained & inside:
            statistics |= {name for name in others if _root(name) == root}
    decays = tuple(group.weight_decay for group in phase.groups)
    optimizer, moving = phase.optimizer, frozenset(statistics)
    adamw = (*optimizer.betas, optimizer.epsilon) if optimizer.name == "adamw" else None
    return Plan(tuple(groups), decays, moving, optimizer.momentum, adamw, optimizer.clip_norm)


def select_tensors(selector: str, streams: Streams, tensors: Sequence[str]) -> frozenset[str]:
    """The canonical names that a selector selects. Raises: ValueError where it selects none."""
    if selector == "all":
        return frozenset(tensors)
    head = {name for name in tensors if _root(name) not in BACKBONES}
    if selector == "head":
        return frozenset(head)
    if selector.startswith("last:"):
        return frozenset(head | _last_layers(selector, streams, tensors))
    found = frozenset(n for n in tensors if n == selector or n.startswith(f"{selector}."))
    if not found:
        known = "'all', 'head', 'last:n' or the beginning of a canonical name"
        remedy = "Example: 'backbone.layer4'; model.canonical() lists the names."
        refuse(ValueError, "recipe", f"parameters must be {known}", repr(selector), remedy)
    return found


def _last_layers(selector: str, streams: Streams, tensors: Sequence[str]) -> set[str]:
    """The tensors of the last n layers of each backbone."""
    count = selector.removeprefix("last:")
    if not count.isdigit() or int(count) < 1 or _custom_backbones(streams):
        invariant = "'last:n' must have a positive n, and named backbones"
        remedy = "The layers of a user-defined backbone are unknown; select 'all' or 'head'."
        refuse(ValueError, "recipe", invariant, repr(selector), remedy)
    selected: set[str] = set()
    for root, backbone in zip(BACKBONES, streams.names, strict=False):
        layers = backbone_layers(str(backbone), streams.taps)
        if int(count) > len(layers):
            invariant = f"'last:n' must have n at most {len(layers)}, the layers of {backbone}"
            refuse(ValueError, "recipe", invariant, repr(selector), "Use 'all'.")
        starts = tuple(f"{root}.{name}." for layer in layers[-int(count) :] for name in layer)
        selected |= {name for name in tensors if name.startswith(starts)}
    return selected


def backbone_layers(backbone: str, taps: Sequence[str] | None) -> list[tuple[str, ...]]:
    """For each layer of a named backbone, the names of its modules in the plan."""
    layers: list[tuple[str, ...]] = []
    for layer in plans.cut(backbone, taps):
        if isinstance(layer, (plans.Conv, plans.Block, plans.Unit, plans.Mixed)):
            layers.append((layer.name,))
        elif isinstance(layer, plans.BatchNorm):
            layers[-1] += (layer.name,)
    return layers


def draw_tensors(
    selector: str,
    streams: Streams,
    num_classes: int,
    tensors: Mapping[str, np.ndarray],
    seed: Sequence[int],
) -> dict[str, np.ndarray]:
    """New values of tensors, equal in every framework. Raises: ValueError for those of pools."""
    names = select_tensors(selector, streams, list(tensors))
    classifier = tensors.get("classifier.weight")
    size = None if classifier is None else classifier.shape[1]
    head = plans.Head(num_classes, size, streams.projections)
    entropy = int(np.random.SeedSequence(seed).generate_state(1)[0])
    networks = *streams.pair, head, streams.taps, streams.in_channels
    drawn = plans.initial_tensors(*networks, seed=entropy, dtype="float64")
    if others := sorted(names - drawn.keys()):
        invariant = "only named backbones, projections and the classifier can be reinitialized"
        received = f"{selector!r}, which selects {others[0]!r}"
        refuse(ValueError, "recipe", invariant, received, "Select parameters without it.")
    return {name: drawn[name].astype(tensors[name].dtype) for name in names}


def check_updates(
    phase: Phase,
    plan: Plan,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    buffers: Mapping[str, np.ndarray],
) -> None:
    """After the first step of a phase, check that exactly the tensors of its plan changed.

    A single tensor or layer may stay equal: its gradient is 0 where the ReLUs behind it are 0. A
    whole module may not, except where its step was too small to change the rounded value, which
    `buffers` show, or where a classifier of zeros blocks every gradient.

    Raises: RuntimeError for a frozen tensor that changed, for a group that left a backbone,
        projection, pool or classifier unchanged, and for unchanged BatchNorm statistics.
    """
    changed = {name for name, old in before.items() if not np.array_equal(old, after[name])}
    if wrong := sorted(changed - plan.trained.keys() - plan.statistics):
        received = f"{len(wrong)} changed tensors, the first {wrong[0]!r}"
        _stop(phase, "frozen tensors must not change", received)
    kinds = {key: key.partition(".") for key, array in buffers.items() if array.any()}
    reached = changed | {name for kind, _, name in kinds.values() if kind in MOMENTA}
    if not before.get("classifier.weight", np.ones(1)).any():
        reached |= {name for name in plan.trained if not name.startswith("classifier.")}
    for group, names in zip(phase.groups, plan.groups, strict=True):
        invariant = f"the group {group.parameters!r} must train"
        if not changed & set(names):
            _stop(phase, invariant, f"{len(names)} parameters, none of which changed")
        for root, inside in _by_root(names).items():
            if not reached & inside:
                received = f"{len(inside)} parameters of {root}, none of which changed"
                _stop(phase, invariant, received)
    layers = {_module(name) for name in plan.trained}
    # a user-defined backbone can have other tensors that are not learned and never change
    running = {n for n in plan.statistics if _module(n) in layers and not plans.is_parameter(n)}
    for root, inside in _by_root(sorted(running)).items():
        if not changed & inside:
            invariant = "the statistics of BatchNorm layers that train must change"
            _stop(phase, invariant, f"{len(inside)} of {root}, none of which changed")


def _by_root(names: Iterable[str]) -> dict[str, set[str]]:
    """Names by their module: ``"backbone"``, ``"projection_b"``, ``"classifier"``."""
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(_root(name), set()).add(name)
    return found


def _custom_backbones(streams: Streams) -> list[str]:
    return [root for root, name in zip(BACKBONES, streams.names, strict=False) if name is None]


def _root(name: str) -> str:
    return name.partition(".")[0]


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _refuse(phase: Phase, invariant: str, received: str, remedy: str) -> NoReturn:
    refuse(ValueError, f"phase {phase.name!r}", invariant, received, remedy)


def _stop(phase: Phase, invariant: str, received: str) -> NoReturn:
    remedy = "The engine does not do what the recipe says; nothing of this phase was saved."
    refuse(RuntimeError, f"phase {phase.name!r}", invariant, received, remedy)
