"""B-CNNs on custom backbones: in either stream, saved by name, opened with the module."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing.cases import normal

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .test_models import CLASSES, images

over_backends = pytest.mark.parametrize("backend", PRESENT)


@over_backends
def test_custom_backbone(backend: str, tmp_path: Path) -> None:
    """It is saved only under a name, and opened only in its framework with the module."""
    path, x = tmp_path / "model.safetensors", images(2, (12, 12), "float32")
    one, own = driver(backend), driver(backend).custom_network
    model = one.model(own(7), CLASSES, channels=7, pool="CovariancePool")
    logits = one.logits(model, x)
    with pytest.raises(ValueError, match=r"name=None\. Pass name="):
        one.save(model, path)
    one.save(model, path, name="mine")
    for reader in PRESENT:
        words = "must be given" if reader == backend else f"of {backend}"
        with pytest.raises(ValueError, match=f"backbone is 'mine'.*{words}"):
            driver(reader).load(path)
    with pytest.raises(ValueError, match=r"backbone is 'mine'.*must be given"):
        one.model("vgg16", 4, weights=path)
    fresh = own(7, seed=9)
    untouched = one.model(fresh, CLASSES, channels=7)
    before = one.tensors(untouched)
    np.testing.assert_array_equal(one.logits(one.load(path, backbone=fresh), x), logits)
    opened = one.load(path, num_classes=4, backbone=fresh)
    after = one.tensors(untouched)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg="the caller's module changed")
    model.reset_classifier(4)
    for other in opened, one.model(own(7, seed=9), 4, weights=path):
        np.testing.assert_array_equal(one.logits(other, x), one.logits(model, x))
    with pytest.raises(ValueError, match="backbone"):
        one.load(path, backbone=own(8))
    with pytest.raises(ValueError, match="backbone"):
        one.model(own(8), 4, weights=path, channels=7)
    with pytest.raises(ValueError, match=r"channels must be that of the file, \(7,\); got \(8,\)"):
        one.model(own(8), 4, weights=path, channels=8)


@over_backends
def test_import_path_is_imported_only_where_it_is_allowed(backend: str, tmp_path: Path) -> None:
    path, again, one = tmp_path / "model.safetensors", tmp_path / "again", driver(backend)
    x, name = images(2, (12, 12), "float32"), f"tests.own_backbones:{backend}"
    model = one.model(one.custom_network(7), CLASSES, channels=7)
    one.save(model, path, name=name)
    with pytest.raises(ValueError, match=r"no module\. Open .* trust its code, allow_import=True"):
        one.load(path)
    opened = one.load(path, allow_import=True)
    np.testing.assert_array_equal(one.logits(opened, x), one.logits(model, x))
    one.save(opened, again, name=name)
    assert again.read_bytes() == path.read_bytes()
    given = one.load(path, backbone=one.custom_network(7, seed=3), allow_import=True)
    np.testing.assert_array_equal(one.logits(given, x), one.logits(model, x))
    for wrong, words in (
        ("tests.own_backbones", "must be given; got no module"),
        ("tests.no_backbones:run", r"tests\.no_backbones must be importable; got No module named"),
        ("tests.own_backbones:run", r"own_backbones must have the function run; got None"),
        ("tests.own_backbones:CHANNELS", "must have the function CHANNELS; got 7"),
        ("tests.training:data", f"data must return a .* for framework {backend}; got .*tuple"),
    ):
        one.save(model, path, name=wrong)
        with pytest.raises((ValueError, TypeError, ImportError), match=f"^load .*{words}"):
            one.load(path, allow_import=True)


STREAMS = {  # a number is a custom backbone with that many channels
    "two custom": ((7, 5), ("mine", "other")),
    "custom and named": ((7, "resnet18"), "mine"),
    "named and custom": (("resnet18", 5), (None, "other")),
}


def stream(backend: str, given: int | str, seed: int) -> Any:
    return given if isinstance(given, str) else driver(backend).custom_network(given, seed=seed)


@over_backends
@pytest.mark.parametrize("case", STREAMS)
def test_two_streams_with_custom_backbones(backend: str, case: str, tmp_path: Path) -> None:
    """Streams with different channels, and with different sizes beside ResNet18."""
    path = tmp_path / "model.safetensors"
    kinds, name = STREAMS[case]
    first, second = (stream(backend, given, seed) for seed, given in enumerate(kinds))
    channels = tuple(512 if isinstance(given, str) else given for given in kinds)
    model = driver(backend).model(first, CLASSES, backbone_b=second, channels=channels)
    x = images(2, (40, 36), "float32")
    driver(backend).logits(model, x, training=True)  # statistics that are not 0 and 1
    logits = driver(backend).logits(model, x)
    assert driver(backend).descriptors(model, x).shape == (2, channels[0] * channels[1])
    driver(backend).save(model, path, name=name)
    modules = {
        argument: stream(backend, given, 9)
        for argument, given in zip(("backbone", "backbone_b"), kinds, strict=True)
        if not isinstance(given, str)
    }
    opened = driver(backend).load(path, **modules)
    np.testing.assert_array_equal(driver(backend).logits(opened, x), logits)
    for argument in modules:
        rest = {other: module for other, module in modules.items() if other != argument}
        with pytest.raises(ValueError, match=f"{argument} is '(mine|other)'.*must be given"):
            driver(backend).load(path, **rest)
        wrong = modules | {argument: driver(backend).custom_network(8)}
        with pytest.raises(ValueError, match=rf"tensor '{argument}\."):
            driver(backend).load(path, **wrong)


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="Keras")
def test_a_keras_backbone_is_copied_by_its_own_configuration(tmp_path: Path) -> None:
    """Some layers of KerasHub cannot be made from theirs, as `clone_model` does."""
    keras, one = pytest.importorskip("keras"), driver("tensorflow")

    class Rescaling(keras.layers.Rescaling):
        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"positions": 17}

    class Backbone(keras.Model):
        def __init__(self, channels: int) -> None:
            images = keras.Input((None, None, 3))
            super().__init__(images, keras.layers.Conv2D(channels, 3)(Rescaling(2.0)(images)))
            self.channels = channels

        def get_config(self) -> dict[str, Any]:
            return {"channels": self.channels}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return cls(**config)

    path, x = tmp_path / "model.safetensors", images(2, (12, 12), "float32")
    model = one.model(Backbone(7), CLASSES, channels=7)
    one.save(model, path, name="mine")
    opened = one.load(path, backbone=Backbone(7))
    np.testing.assert_array_equal(one.logits(opened, x), one.logits(model, x))


TOKENS = normal("float32", 2, 6, 7), normal("float32", 2, 6, 5, seed=1)
REFUSED: dict[str, tuple[list[np.ndarray], str]] = {
    "one map": ([TOKENS[0]], "the backbone must give 2 maps; got 1"),
    "channels": ([TOKENS[0], TOKENS[0]], r"a feature map must be \(N, .*5.*; got \(2, .*channels="),
    "two sizes": (
        [TOKENS[0], TOKENS[1][:, :4]],
        r"different sizes must have two spatial axes; got \(2, .*6.*Reshape tokens to the rows",
    ),
    "one of them in rows": ([TOKENS[0], TOKENS[1].reshape(2, 2, 3, 5)], "two spatial axes"),
}


@over_backends
def test_tokens_are_maps_with_one_spatial_axis(backend: str) -> None:
    """Tokens of two streams have equal numbers, since they have no rows to resample."""
    one = driver(backend)
    streams = {"backbone_b": one.custom_network(5), "channels": (7, 5)}
    model = one.model(one.custom_network(7), CLASSES, **streams)
    maps = [one.to_native_map(x) for x in TOKENS]
    pooled = one.to_array(model.pool(*model.prepared(maps)))
    assert relative_error(pooled, reference.bilinear_pool(*TOKENS)) <= LOGITS["float32"]
    for given, words in REFUSED.values():
        with pytest.raises(ValueError, match=f"^BCNN: .*{words}"):
            model.logits(*map(one.to_native_map, given))
    with pytest.raises(TypeError, match=r"^BCNN: a feature map must be a .*; got builtins\.dict"):
        model.logits({"0": maps[0]}, maps[1])


@over_backends
def test_a_pool_of_the_other_layout_is_refused(backend: str) -> None:
    """A file has no layout, so a model that was opened from it would pool other axes."""
    if backend == "jax":
        pytest.skip("its layers have one layout")
    one = driver(backend)
    own, other = ("channels_first", "channels_last")[:: 1 if backend == "torch" else -1]
    pool = one.namespace.BilinearPool(data_format=other)
    with pytest.raises(
        ValueError, match=f"^BCNN: pool must have data_format='{own}'; got '{other}'"
    ):
        one.model(one.custom_network(7), CLASSES, channels=7, pool=pool)
