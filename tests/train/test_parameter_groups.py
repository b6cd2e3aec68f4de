"""The tensors that parameter groups select, and those that they freeze."""

import pytest

from bilinear.models import plans
from bilinear.models.streams import Streams
from bilinear.train import Group, Phase
from bilinear.train.parameter_groups import make_plan, select_tensors

STREAMS = Streams(("vgg16", "resnet18"), (512, 512), projection=8)
HEAD = plans.Head(3, 64, ((8, 512), (8, 512)))
NAMES = list(plans.bcnn_shapes("vgg16", "resnet18", HEAD))
LEARNED = {name for name in NAMES if plans.is_parameter(name)}


def phase(*groups: Group) -> Phase:
    return Phase("p", groups, 1)


def test_selectors_select_by_canonical_name() -> None:
    def select(selector: str) -> set[str]:
        return set(select_tensors(selector, STREAMS, NAMES))

    head = {"projection.weight", "projection_b.weight", "classifier.weight", "classifier.bias"}
    assert select("head") == head
    assert select("all") == set(NAMES)
    assert select("classifier") == {"classifier.weight", "classifier.bias"}
    assert select("backbone.features.28.bias") == {"backbone.features.28.bias"}
    assert select("backbone") | select("backbone_b") | head == select("all")
    assert not select("backbone") & select("backbone_b")
    starts = "backbone.features.28.", "backbone_b.layer4.1."
    assert select("last:1") == {name for name in NAMES if name.startswith(starts)} | head
    assert select("last:9") - select("last:8") == {
        *(f"backbone.features.10.{name}" for name in ("weight", "bias")),
        "backbone_b.conv1.weight",
        *(f"backbone_b.bn1.{p}" for p in ("weight", "bias", "running_mean", "running_var")),
    }


def test_a_plan_freezes_everything_outside_its_groups() -> None:
    groups = Group("head", 1.0), Group("last:1", 0.1, 0.5)
    plan = make_plan(phase(*groups), STREAMS, NAMES, LEARNED)
    assert set(plan.groups[0]) == set(select_tensors("head", STREAMS, NAMES))
    assert {name.rpartition(".")[0] for name in plan.groups[1]} == {
        "backbone.features.28",
        *(f"backbone_b.layer4.1.{layer}" for layer in ("conv1", "bn1", "conv2", "bn2")),
    }
    assert plan.decays == (0.0, 0.5)
    assert plan.statistics == {
        f"backbone_b.layer4.1.bn{i}.running_{kind}" for i in (1, 2) for kind in ("mean", "var")
    }
    whole = make_plan(phase(Group("all", 0.1)), STREAMS, NAMES, LEARNED)
    assert whole.statistics == set(NAMES) - LEARNED
    assert whole.trained.keys() == LEARNED


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([Group("fc", 1.0)], "parameters must be .* got 'fc'"),
        ([Group("last:0", 1.0)], "positive n"),
        ([Group("last:x", 1.0)], "positive n"),
        ([Group("last:10", 1.0)], "n at most 9, the layers of resnet18"),
        ([Group("all", 0.1), Group("head", 1.0)], "got 'head', whose parameters are all in"),
        ([Group("all", 1.0)], "of a backbone must be given, and be at most 0.1; got 1.0 for 'all'"),
        ([Group("last:1")], "must be given, and be at most 0.1; got None for 'last:1'"),
    ],
)
def test_invalid_groups_are_refused(groups: list[Group], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan(phase(*groups), STREAMS, NAMES, LEARNED)


def test_a_user_defined_backbone_trains_whole_or_not_at_all() -> None:
    custom = Streams((None,), (4,))
    names = ["backbone.0.weight", "backbone.1.mean", "backbone.2.weight", "classifier.weight"]
    learned = {name for name in names if name.endswith("weight")}
    plan = make_plan(phase(Group("head", 1.0)), custom, names, learned)
    assert (plan.groups, plan.statistics) == ((("classifier.weight",),), frozenset())
    assert make_plan(phase(Group("all", 0.1)), custom, names, learned).statistics == {names[1]}
    for selector in "backbone.0", "last:1":
        with pytest.raises(ValueError, match="user-defined backbone"):
            make_plan(phase(Group(selector, 0.1)), custom, names, learned)
