"""Recipes as data: their values, and those that are refused."""

import dataclasses
import json
import math

import pytest

from bilinear.train import (
    NAMED_RECIPES,
    Group,
    Images,
    Model,
    Phase,
    Recipe,
    Schedule,
    named_recipe,
    override,
)

from ..training import recipe


def test_the_checksum_is_that_of_the_content() -> None:
    pairs = [(seed, monitor) for seed in (0, 1) for monitor in ("loss", "accuracy")]
    assert len({recipe(seed=seed, monitor=m).checksum() for seed, m in pairs}) == 4
    for name in NAMED_RECIPES:
        made = named_recipe(name)
        again = Recipe.from_json(made.to_json())
        assert (again, again.checksum()) == (made, made.checksum())
        assert (made.name, bool(made.source)) == (name, True)


def test_named_recipes_have_the_published_values() -> None:
    first, second = named_recipe("bcnn-two-phase").phases
    assert (first.groups, first.epochs) == ((Group("head", None, 1e-8),), 55)
    assert second.groups == (Group("head", None, 1e-5), Group("all", 0.01, 1e-5))
    assert second.epochs == 25
    transfer = named_recipe("multi-phase", backbone="resnet18", layers=(2, 5), reinitialize=True)
    assert [phase.patience for phase in transfer.phases] == [3, 3, 3]
    assert [phase.reinitialize for phase in transfer.phases] == [None, "last:2", "last:5"]
    assert (transfer.batch_size, transfer.images.resize, transfer.images.size) == (32, 512, 448)


REFUSED = {
    "phases.0.groups.0.learning_rate=-1": "greater than 0; got -1",
    "phases.0.groups.0.learning_rate=NaN": "a finite number; got nan",
    "phases.0.groups.0.learning_rate=Infinity": "a finite number; got inf",
    "phases.0.groups.0.learning_rate=1" + "0" * 400: "a valid number; got 1000",
    "phases.0.groups.0.learning_rate=true": "a valid number; got True",
    "phases.0.groups.0.weight_decay=-1": "greater than or equal to 0",
    "phases.0.groups.0.parameters=": "at least 1 character; got ''",
    'phases.0.epochs="3"': "a valid integer; got '3'",
    "phases.0.epochs=0": "greater than or equal to 1; got 0",
    "phases.0.epochs=2.0": r"a valid integer; got 2\.0",
    "phases.0.epochs=1" + "0" * 400: "less than or equal to 1000000; got 1000",
    "batch_size=1" + "0" * 400: "less than or equal to 9007199254740992; got 1000",
    "phases.0.optimizer.momentum=1": "less than 1; got 1",
    "phases.0.optimizer.name=adam": "'sgd' or 'adamw'; got 'adam'",
    "phases.0.optimizer.betas=[0.9, 1]": "less than 1; got 1",
    "phases.0.optimizer.epsilon=0": "greater than 0; got 0",
    "phases.0.schedule.kind=poly": "'constant', 'step', 'cosine' or 'plateau'; got 'poly'",
    "phases.0.schedule.milestones=[]": "one epoch or more for kind 'step'",
    "phases.1.schedule.milestones=[1]": "empty for kind 'constant'",
    "phases.0.schedule.warmup=-1": "greater than or equal to 0",
    "phases.0.start=first": "'best' or 'last'; got 'first'",
    "phases.0.name=a/b": "match pattern .*; got 'a/b'",
    "phases.0.name=" + 300 * "a": "at most 50 characters; got 'aaa",
    "phases.0=1": "instance of Phase; got 1",
    "phases=[]": "at least 1 item",
    "phases={}": "a valid tuple",
    "phases.1.name=head": "named differently",
    "model.backbone=vgg17": "one of vgg16, .*, or package.module:function; got 'vgg17'",
    "model.backbone=a:b:c": "one of vgg16, .*, or package.module:function; got 'a:b:c'",
    "model.backbone=a/b:c": "one of vgg16, .*, or package.module:function; got 'a/b:c'",
    "model.channels=0": "a positive integer or a list of those; got 0",
    "model.channels=[]": r"a positive integer or a list of those; got \[\]",
    'model.backbone=["vgg16"]': r"a valid string; got \['vgg16'\]",
    "model.backbone_b={}": r"a valid string; got \{\}",
    "model.pool=MaxPool": "the name of a pool must be one of BilinearPool, .*; got 'MaxPool'",
    "model.pool=": "the name of a pool must be one of BilinearPool, .*; got ''",
    "model.pool=3": "a name, or an object with a name and arguments; got 3",
    'model.pool={"dim": 8}': "the name of a pool must be one of .*; got None",
    'model.pool={"name": "CompactBilinearPool", "dim": 0}': "a positive integer; got 0",
    'model.pool={"name": "CompactBilinearPool", "dim": true}': "a positive integer; got True",
    'model.pool={"name": "OuterMaxPool", "dim": 8}': r"has the arguments eps, .*; got \['dim'\]",
    'model.pool={"name": "BilinearPool", "slope_eps": 0.1}': "signed root without eps; got root=",
    'model.pool={"name": "DemocraticPool", "pool": {"name": "lrbp"}}': "must be one of .*'lrbp'",
    'model.pool={"name": "DemocraticPool", "pool": {"name": "OuterMaxPool", "eps": -1}}': "got -1",
    "model.dtype=float8": "one of float16, .*; got 'float8'",
    "model.projection=4097": "an integer from 1 to 4096, 'auto' or null; got 4097",
    "model.projection=0": "an integer from 1 to 4096, 'auto' or null; got 0",
    "model.projection=true": "an integer from 1 to 4096, 'auto' or null; got True",
    "model.projection=None": "an integer from 1 to 4096, 'auto' or null; got 'None'",
    "model.in_channels=2": "one of 1, 3; got 2",
    "model.in_channels=true": "a valid integer; got True",
    "model.taps=layer3": "a valid tuple; got 'layer3'",
    "images.resize=16": "at least size, 32; got 16",
    "images.size=1000000000": "an integer from 1 to 9459, or two, .*; got 1000000000",
    "images.size=[32, 0]": r"an integer from 1 to 9459, .*; got \[32, 0\]",
    "images.size=[32]": r"an integer from 1 to 9459, .*; got \[32\]",
    "images.size=true": "an integer from 1 to 9459, .*; got True",
    "images.resize=9460": "less than or equal to 9459; got 9460",
    "images.flip=1": "a valid boolean; got 1",
    "images.scale=[0.5, 0.25]": r"in ascending order; got \[0.5, 0.25\]",
    "images.hue=0.6": "less than or equal to 0.5; got 0.6",
    "label_smoothing=1": "less than 1; got 1",
    "class_weights=equal": "'balanced'; got 'equal'",
    "phases.0.optimizer.clip_norm=0": "greater than 0; got 0",
    "accumulate=3": "a divisor of batch_size, 4; got 3",
    "ema=1": "less than 1; got 1",
    "monitor=test accuracy": "'loss', 'accuracy' or 'mean_class_accuracy'; got 'test accuracy'",
    "seed=-1": "greater than or equal to 0; got -1",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change[:60])
def test_invalid_values_are_refused_with_their_path(change: str) -> None:
    where = "phases" if "named" in REFUSED[change] else change.partition("=")[0]
    with pytest.raises(ValueError, match=f"Recipe: {where}.* {REFUSED[change]}") as caught:
        override(recipe(), [change])
    assert "help(bilinear.train." in str(caught.value)


def test_a_custom_backbone_needs_channels_and_no_imagenet_weights() -> None:
    changes = ["model.taps=null", "model.backbone=my.networks:small", "model.channels=[8, 4]"]
    made = override(recipe(), changes)
    assert (made.model.backbone, made.model.channels) == ("my.networks:small", (8, 4))
    assert Recipe.from_json(made.to_json()) == made
    for change, words in (
        ("model.channels=null", "model.channels must be those of .* my.networks:small; got null"),
        ("model.weights=imagenet", "model.weights must be null, or .* my.networks:small; got 'ima"),
    ):
        with pytest.raises(ValueError, match=words):
            override(made, [change])
    both = override(made, ["model.backbone_b=resnet18", "model.weights=imagenet"])
    assert both.model.weights == "imagenet"


def test_the_pool_of_a_recipe_may_have_arguments() -> None:
    pool = {"name": "CompactBilinearPool", "dim": 8, "seed": None}
    made = override(recipe(), [f"model.pool={json.dumps(pool)}"])
    assert made.model.pool == pool
    assert Recipe.from_json(made.to_json()) == made
    assert override(made, ["model.pool.dim=16"]).model.pool == pool | {"dim": 16}
    for name in "isqrt-cov", '{"name": "CovariancePool", "steps": 3}':
        with pytest.raises(ValueError, match=r"at most 0\.1 with CovariancePool"):
            override(recipe(), ["phases.0.groups.0.learning_rate=1", f"model.pool={name}"])


@pytest.mark.parametrize("pool", ["AveragePool", "CovariancePool", "LowRankBilinearClassifier"])
def test_rates_of_unit_descriptors_are_refused_for_other_pools(pool: str) -> None:
    whole, rate = named_recipe("bcnn-two-phase"), "phases.0.groups.0.learning_rate"
    with pytest.raises(ValueError, match=f"Recipe: {rate} must be at most 0.1 with {pool}, .* 1.0"):
        override(whole, [f"model.pool={pool}", f"{rate}=1"])
    assert override(whole, [f"model.pool={pool}", f"{rate}=0.1"]).model.pool == pool
    assert override(whole, ["model.pool=CompactBilinearPool", f"{rate}=10"])


SCALES = {
    **dict.fromkeys([None, "CompactBilinearPool", "DemocraticPool", "umass-improved"], 1.0),
    **dict.fromkeys(["AveragePool", "CovariancePool", "isqrt-cov", "lrbp"], 0.01),
}


@pytest.mark.parametrize("name", NAMED_RECIPES)
@pytest.mark.parametrize("pool", SCALES)
def test_the_pool_sets_the_learning_rate_of_classifiers(name: str, pool: str | None) -> None:
    """In every phase: a rate as small as that of the backbone does not train unit descriptors."""
    made = override(named_recipe(name), [f"model.pool={json.dumps(pool)}"])
    for phase in made.phases:
        head, *backbone = made.learning_rates(phase)
        assert phase.groups[0].parameters == "head"
        assert head == SCALES[pool]
        assert all(rate <= 0.01 for rate in backbone)


def test_values_are_validated_in_python_too() -> None:
    for make, message in (
        (lambda: Group("head", -1), "Group: learning_rate must be greater than 0; got -1"),
        (lambda: Group("head", 1, momentum=0.9), "Group: the fields of Group are parameters, "),  # type: ignore[call-arg]
        (Group, "Group: parameters is required; got no value"),  # type: ignore[call-arg]
        (lambda: Schedule("step"), "Schedule: milestones must be one epoch or more"),
        (lambda: dataclasses.replace(Images(448), resize=32), "Images: resize must be at least"),
        (lambda: Phase("a", (Group("all", math.nan),), 1), "Group: learning_rate must be a finite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Model().backbone = "resnet18"  # type: ignore[misc]


def test_missing_fields_and_other_formats_are_refused() -> None:
    data = json.loads(recipe().to_json())
    group = data["phases"][0]["groups"][0]
    for changes, message in (
        ({"format": "other"}, "format must be 'bilinear-recipe'"),
        ({"version": 2}, "version must be 1; got 2"),
        ({"phases": [{"name": "a", "groups": [group]}]}, r"phases\.0\.epochs is required"),
        (
            {"phases": [{"momentun": 0.9, "groups": [group]}]},
            r"the fields of Phase are name, .*; got phases\.0\.momentun",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Recipe.from_json(json.dumps(data | changes))
    for text in "", "{", "[]", "null", "[" * 100_000:
        with pytest.raises(ValueError, match="recipe"):
            Recipe.from_json(text)
    with pytest.raises(ValueError, match="one of 'bcnn-two-phase'"):
        named_recipe("bcnn")


def test_an_override_changes_one_field() -> None:
    """JSON is parsed, anything else is text; a later override wins."""
    before = named_recipe("multi-phase")
    changes = ["model.backbone=resnet18", "model.weights=null", 'model.taps=["layer3"]']
    changes += ["phases.1.groups.0.learning_rate=0.25", "seed=3", "seed=4", "source=a = b"]
    after = override(before, changes)
    first, second, *rest = before.phases
    groups = (dataclasses.replace(second.groups[0], learning_rate=0.25), second.groups[1])
    model = Model("resnet18", weights=None, taps=("layer3",))
    phases = (first, dataclasses.replace(second, groups=groups), *rest)
    assert after == dataclasses.replace(before, model=model, phases=phases, seed=4, source="a = b")
    assert override(before, ()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "must be PATH=VALUE; got 'seed'"),
        ("=3", "must be PATH=VALUE; got '=3'"),
        ("model.backbones=vgg16", "model.backbones: the field in model must be one of backbone, "),
        ("phases.2.epochs=1", "phases.2.epochs: the index in phases must be one of 0, 1; got 2"),
        ("phases.-1.epochs=1", "one of 0, 1; got -1"),
        ("seed.0=1", "seed.0: seed is 0 and has no fields; got 0"),
    ],
)
def test_an_invalid_override_names_its_path(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(named_recipe("bcnn-two-phase"), [change])
