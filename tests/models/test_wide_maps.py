"""Feature maps of so many channels that a B-CNN projects them first, and says so."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from bilinear.models import construction, plans
from bilinear.models.construction import LONGEST
from bilinear.train import Recipe, override

from ..own_backbones import CHANNELS
from ..subjects import PRESENT, driver, needs_a_framework
from ..training import engine, recipe
from .test_models import CLASSES

pytestmark = needs_a_framework

WIDE = 725
"""The least number of channels whose bilinear descriptor is longer than `LONGEST`."""

PROJECTED = "projection=256 is used, because feature maps of"


def built(backend: str, *channels: int, **options: Any) -> Any:
    """A model on custom backbones, and the texts of the warnings."""
    own = driver(backend).custom_network
    first, second = (*(own(c) for c in channels), None)[:2]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given: Any = channels if second is not None else channels[0]
        model = driver(backend).model(first, CLASSES, backbone_b=second, channels=given, **options)
    return model, [f"{w.message}" for w in caught if "projection" in f"{w.message}"]


@pytest.mark.parametrize("backend", PRESENT)
def test_a_wide_map_is_projected_with_a_warning(backend: str, tmp_path: Path) -> None:
    model, said = built(backend, WIDE)
    assert model.streams.projection == 256
    (text,) = said
    assert f"{PROJECTED} 725 channels give a descriptor of 525,625 values" in text
    assert "a classifier of 3 classes on it has 1,576,875 weights" in text
    driver(backend).save(model, tmp_path / "wide.safetensors", name="mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = driver(backend).load(
            tmp_path / "wide.safetensors", backbone=driver(backend).custom_network(WIDE)
        )
    assert opened.streams.projection == 256
    model, said = built(backend, WIDE, projection=None, pool="AveragePool")
    assert (model.streams.projection, said) == (None, [])


CASES: list[tuple[tuple[int, ...], dict[str, Any], int | None]] = [
    ((WIDE - 1,), {}, None),
    ((WIDE - 1, WIDE), {}, 256),
    ((WIDE,), {"pool": "OuterMaxPool"}, 256),
    ((WIDE,), {"pool": "CovariancePool"}, None),  # 263,175 values, packed
    ((WIDE,), {"pool": "AveragePool"}, None),
    ((WIDE,), {"pool": "CompactBilinearPool"}, None),
    ((WIDE,), {"pool": "lrbp"}, None),  # gives logits
]


@pytest.mark.parametrize(("channels", "options", "projection"), CASES)
def test_only_long_descriptors_are_projected(
    channels: tuple[int, ...], options: dict[str, Any], projection: int | None
) -> None:
    model, said = built(PRESENT[0], *channels, **options)
    assert model.streams.projection == projection
    assert len(said) == (projection is not None)


def test_a_pool_made_for_the_map_is_not_projected() -> None:
    made = driver(PRESENT[0]).namespace.CompactBilinearPool(WIDE, 8)
    model, said = built(PRESENT[0], WIDE, pool=made)
    assert (model.streams.projection, said) == (None, [])


def test_what_is_asked_for_is_used() -> None:
    for given in (7, None):
        pool = {} if given else {"pool": "AveragePool"}
        model, said = built(PRESENT[0], WIDE, projection=given, **pool)
        assert (model.streams.projection, said) == (given, [])
    with pytest.raises(ValueError, match="projection must be a positive integer, 'auto' or None"):
        built(PRESENT[0], WIDE, projection="wide")


@pytest.mark.parametrize(("value", "projection"), [("null", None), ("auto", 256), ("8", 8)])
def test_a_recipe_sets_the_projection(
    value: str, projection: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`null` is no projection, and not the default."""
    monkeypatch.setattr(construction, "LONGEST", CHANNELS**2 - 1)
    changes = [f"model.backbone=tests.own_backbones:{PRESENT[0]}", f"model.channels={CHANNELS}"]
    made = override(recipe(), [*changes, "model.taps=null", f"model.projection={value}"])
    made = Recipe.from_json(made.to_json())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert engine(PRESENT[0], made, allow_import=True).streams.projection == projection
    assert any(PROJECTED in f"{w.message}" for w in caught) == (value == "auto")


def test_the_wide_backbones_are_projected() -> None:
    wide = {name for name, channels in plans.CHANNELS.items() if channels**2 > LONGEST}
    assert wide == {"resnet50", "resnet101", "inception_v3"}
