"""Recipes as data, their schedules, and which tensors their parts are."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from bilinear.models import plans
from bilinear.models.streams import Streams
from bilinear.train import (
    NAMED,
    Group,
    Model,
    Phase,
    Recipe,
    Schedule,
    changed,
    named,
    parts,
    schedules,
)

from ..training import recipe


@pytest.mark.parametrize("name", NAMED)
def test_named_recipes_survive_json(name: str) -> None:
    made = named(name)
    again = Recipe.from_json(made.to_json())
    assert again == made
    assert again.checksum() == made.checksum()
    assert made.name == name
    assert made.source


def test_a_recipe_that_differs_has_another_checksum() -> None:
    sums = {
        recipe(seed=seed, monitor=m).checksum() for seed in (0, 1) for m in ("loss", "accuracy")
    }
    assert len(sums) == 4


def test_published_numbers() -> None:
    first, second = named("bcnn-two-phase").phases
    assert (first.groups, first.epochs) == ((Group("head", 1.0, 1e-8),), 55)
    assert (second.groups, second.epochs) == ((Group("all", 0.01, 1e-5),), 25)
    transfer = named("multi-phase", backbone="resnet18", layers=(2, 5), reinitialize=True)
    assert [phase.patience for phase in transfer.phases] == [3, 3, 3]
    assert [phase.reinitialize for phase in transfer.phases] == [None, "last:2", "last:5"]
    assert (transfer.batch_size, transfer.images.resize, transfer.images.size) == (32, 512, 448)


def altered(way: str, value: Any) -> str:
    """The JSON of a recipe, one field of it replaced; a value of `del` removes it."""
    data = json.loads(recipe().to_json())
    *outer, last = way.split(".")
    place: Any = data
    for key in outer:
        place = place[int(key) if key.isdigit() else key]
    if value is del_:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


del_ = object()

REFUSED = {
    "unknown": ("phases.0.momentun", 0.9, r"recipe\.phases\[0\]: .*unknown \['momentun'\]"),
    "missing": ("phases.1.epochs", del_, r"recipe\.phases\[1\]: needs .*epochs.*no \['epochs'\]"),
    "rate": ("phases.0.groups.0.rate", -1, r"phases\[0\]\.groups\[0\]: .*rate must be a number"),
    "rate of nan": ("phases.0.groups.0.rate", math.nan, "rate must be a number above 0; got nan"),
    "text": ("phases.0.epochs", "3", r"phases\[0\]: .*epochs must be a positive integer; got '3'"),
    "momentum": ("phases.0.optimizer.momentum", 1, r"optimizer: .*below 1; got 1"),
    "optimiser": ("phases.0.optimizer.name", "adam", r"name must be 'sgd'; got 'adam'"),
    "schedule": ("phases.0.schedule.kind", "poly", r"kind must be one of constant"),
    "milestones": ("phases.0.schedule.milestones", [], r"milestones must be fit for 'step'"),
    "start": ("phases.0.start", "first", r"start must be 'best' or 'last'"),
    "phases": ("phases", [], r"phases must be one phase at least"),
    "not a list": ("phases", {}, r"recipe\.phases: must be a list"),
    "twice": ("phases.1.name", "head", r"phases must be of different names"),
    "name": ("phases.0.name", "a/b", r"name must be letters, digits and hyphens; got 'a/b'"),
    "backbone": ("model.backbone", "vgg19", r"recipe\.model: .*one of vgg16, resnet18"),
    "backbones": ("model.backbone", ["vgg16"], r"backbone must be one of vgg16, .*got \['vgg16'\]"),
    "second": ("model.backbone_b", {}, r"backbone_b must be one of vgg16, .*got \{\}"),
    "dtype": ("model.dtype", [], r"dtype must be one of float16, .*got \[\]"),
    "resize": ("images.resize", 16, r"images: .*resize must be null or an integer from size up"),
    "monitor": ("monitor", "test accuracy", r"monitor must be 'loss' or 'accuracy'"),
    "format": ("format", "other", r"format must be 'bilinear-recipe'"),
    "version": ("version", 2, r"version must be 1; got 2"),
    "seed": ("seed", -1, "seed must be an integer from 0 up"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    way, value, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(altered(way, value))


def test_what_is_no_recipe_is_refused() -> None:
    for text in "", "{", "[]", "null", "[" * 100_000:
        with pytest.raises(ValueError, match="recipe"):
            Recipe.from_json(text)
    with pytest.raises(ValueError, match="one of 'bcnn-two-phase'"):
        named("bcnn")


def test_a_change_is_that_field_and_no_other() -> None:
    """JSON is taken as such, anything else as text; of two the later one stays."""
    before = named("multi-phase")
    ways = ["model.backbone=resnet18", "model.weights=null", "phases.1.groups.0.rate=0.25"]
    ways += ['model.taps=["layer3"]', "seed=3", "seed=4", "source=a = b"]
    after = changed(before, ways)
    first, second, *rest = before.phases
    groups = (dataclasses.replace(second.groups[0], rate=0.25), second.groups[1])
    model = Model("resnet18", weights=None, taps=("layer3",))
    phases = (first, dataclasses.replace(second, groups=groups), *rest)
    same = dataclasses.replace(before, model=model, phases=phases, seed=4, source="a = b")
    assert after == same
    assert changed(before, ()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "must be PATH=VALUE; got 'seed'"),
        ("=3", "must be PATH=VALUE; got '=3'"),
        ("model.backbones=vgg16", "model.backbones: what follows in model is one of backbone, "),
        ("phases.2.epochs=1", "phases.2.epochs: what follows in phases is one of 0, 1; got 2"),
        ("phases.-1.epochs=1", "one of 0, 1; got -1"),
        ("seed.0=1", "seed.0: what follows in seed is nothing, for it is 0"),
        ("phases.0.epochs=many", r"phases\[0\]: .*epochs must be a positive integer; got 'many'"),
        ("phases.0.groups.0.rate=NaN", "rate must be a number above 0; got nan"),
        ("phases.0=1", r"recipe\.phases\[0\]: must be an object; got 1"),
    ],
)
def test_a_change_that_cannot_be_names_its_path(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(named("bcnn-two-phase"), [change])


def test_schedules() -> None:
    assert [schedules.step(e, (2, 3), 0.1) for e in range(4)] == [1, 1, 0.1, 0.1**2]
    assert [schedules.cosine(s, 4) for s in (0, 2)] == [1, pytest.approx(0.5)]
    assert 0 < schedules.cosine(3, 4) < 0.15
    assert [schedules.warmup(s, 4) for s in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert schedules.warmup(0, 0) == 1


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_plateau_is_that_of_torch(patience: int) -> None:
    torch = pytest.importorskip("torch")
    history = np.random.default_rng(0).integers(5, size=40).astype(float).tolist()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0, eps=0
    )
    for epoch, value in enumerate(history, 1):
        theirs.step(value)
        ours = schedules.plateau(history[:epoch], patience, 0.5)
        assert ours == optimizer.param_groups[0]["lr"], epoch


def test_a_phase_is_over_after_epochs_that_are_not_better() -> None:
    assert not schedules.is_over([3, 2, 2, 2], 3)
    assert schedules.is_over([3, 2, 2, 2, 2], 3)
    assert not schedules.is_over([3, 2, 2, 2, 1], 3)
    assert not schedules.is_over([], 1)
    assert not schedules.is_over([1, 2, 3, 4], None)


def test_a_schedule_sees_all_it_needs() -> None:
    place: dict[str, Any] = {"epoch": 2, "step": 8, "steps": 16, "history": [1.0, 1.0, 1.0]}
    assert Schedule().scale(**place) == 1
    assert Schedule("step", (1, 2)).scale(**place) == pytest.approx(0.01)
    assert Schedule("cosine", warmup=18).scale(**place) == pytest.approx(0.25)
    assert Schedule("plateau", patience=1).scale(**place) == pytest.approx(0.1)


# --- parts ---

VGG = Streams(("vgg16", "resnet18"), (512, 512), projection=8)
NAMES = list(
    plans.bcnn_shapes("vgg16", "resnet18", plans.Head(3, 64, ((8, 512), (8, 512)))),
)
LEARNED = {name for name in NAMES if plans.is_parameter(name)}


def phase(*groups: Group) -> Phase:
    return Phase("p", groups, 1)


def test_parts() -> None:
    def of(part: str) -> set[str]:
        return set(parts.members(part, VGG, NAMES))

    head = {"projection.weight", "projection_b.weight", "classifier.weight", "classifier.bias"}
    assert of("head") == head
    assert of("all") == set(NAMES)
    assert of("classifier") == {"classifier.weight", "classifier.bias"}
    assert of("backbone.features.28.bias") == {"backbone.features.28.bias"}
    assert of("backbone") | of("backbone_b") | head == of("all")
    assert not of("backbone") & of("backbone_b")
    last = {
        name for name in NAMES if name.startswith(("backbone.features.28.", "backbone_b.layer4.1."))
    }
    assert of("last:1") == last | head
    assert of("last:9") - of("last:8") == {
        *(f"backbone.features.10.{part}" for part in ("weight", "bias")),
        "backbone_b.conv1.weight",
        *(f"backbone_b.bn1.{p}" for p in ("weight", "bias", "running_mean", "running_var")),
    }


def test_a_plan_freezes_what_no_group_names() -> None:
    plan = parts.plan(phase(Group("head", 1.0), Group("last:1", 0.1, 0.5)), VGG, NAMES, LEARNED)
    assert set(plan.groups[0]) == set(parts.members("head", VGG, NAMES))
    assert {name.rpartition(".")[0] for name in plan.groups[1]} == {
        "backbone.features.28",
        *(f"backbone_b.layer4.1.{layer}" for layer in ("conv1", "bn1", "conv2", "bn2")),
    }
    assert plan.decays == (0.0, 0.5)
    assert plan.statistics == {
        f"backbone_b.layer4.1.bn{i}.running_{kind}" for i in (1, 2) for kind in ("mean", "var")
    }
    everything = parts.plan(phase(Group("all", 0.1)), VGG, NAMES, LEARNED)
    assert everything.statistics == set(NAMES) - LEARNED
    assert everything.trained.keys() == LEARNED


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([Group("fc", 1.0)], "a part must be .* got 'fc'"),
        ([Group("last:0", 1.0)], "positive n"),
        ([Group("last:x", 1.0)], "positive n"),
        ([Group("last:10", 1.0)], "n at most 9, the layers of resnet18"),
        ([Group("all", 0.1), Group("head", 1.0)], "got 'head', of which nothing is left"),
        ([Group("all", 1.0)], "the rate of a backbone must be at most 0.1; got 1.0 for 'all'"),
    ],
)
def test_parts_that_cannot_be_are_refused(groups: list[Group], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parts.plan(phase(*groups), VGG, NAMES, LEARNED)


def test_a_network_of_ones_own_trains_whole_or_not_at_all() -> None:
    own = Streams((None,), (4,))
    names = ["backbone.0.weight", "backbone.1.mean", "backbone.2.weight", "classifier.weight"]
    learned = {name for name in names if name.endswith("weight")}
    plan = parts.plan(phase(Group("head", 1.0)), own, names, learned)
    assert (plan.groups, plan.statistics) == ((("classifier.weight",),), frozenset())
    assert parts.plan(phase(Group("all", 0.1)), own, names, learned).statistics == {names[1]}
    for part in "backbone.0", "last:1":
        with pytest.raises(ValueError, match="network of your own"):
            parts.plan(phase(Group(part, 0.1)), own, names, learned)


def test_recipes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Model().backbone = "resnet18"  # type: ignore[misc]
