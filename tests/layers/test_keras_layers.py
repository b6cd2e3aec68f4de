"""What Keras adds to every layer: implicit masks, functional models, archives, old archives."""

from pathlib import Path

import numpy as np
import pytest

from bilinear.contract.layers import LAYERS

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS, RECOMPUTED

if "tensorflow" not in PRESENT:
    pytest.skip("Keras layers need TensorFlow", allow_module_level=True)

import keras

import bilinear.tensorflow as namespace

OLD_FILES = Path(__file__).parents[1] / "models" / "files_before_0_1"
ARGUMENTS = {
    "CompactBilinearPool": {"channels": 3, "dim": 4},
    "LowRankBilinearPool": {"channels": 3, "dim": 4, "rank": 2},
    "LowRankBilinearClassifier": {"channels": 3, "num_classes": 2},
    "HierarchicalBilinearPool": {"channels": [3, 3], "dim": 4},
    "Projection": {"channels": 3, "dim": 2},
}
MASKS = np.random.default_rng(0).random((2, 2, 3, 4)) < 0.7
MAPS = np.random.default_rng(1).standard_normal((2, 2, 3, 4, 3)).astype("float32")
MAPS[~MASKS] = np.nan
MAP = MAPS[0]
STREAMS = [(name, 2 if name == "HierarchicalBilinearPool" else 1) for name in LAYERS]
TWO = ("BilinearPool", "CompactBilinearPool", "LowRankBilinearPool", "OuterMaxPool")
STREAMS += [(name, 2) for name in TWO]


@keras.saving.register_keras_serializable(package="tests")
class MaskNaN(keras.layers.Layer):
    """Pass the feature map on with a mask that is False where it is NaN."""

    def call(self, x):
        return x

    def compute_mask(self, x, previous_mask=None):
        return keras.ops.logical_not(keras.ops.any(keras.ops.isnan(x), -1))


def make(name: str, **arguments):
    return getattr(namespace, name)(**ARGUMENTS.get(name, {}) | arguments)


def functional(layer, maps):
    """A model whose feature maps carry masks."""
    inputs = [keras.Input((None, None, 3)) for _ in maps]
    return keras.Model(inputs, layer(*(MaskNaN()(i) for i in inputs)))


@pytest.mark.parametrize(("name", "streams"), STREAMS)
def test_implicit_masks_are_those_of_a_keyword(name: str, streams: int, tmp_path: Path) -> None:
    """In eager calls, a functional model, its clone and its archive."""
    layer = make(name, **({"channels": [3, 3]} if streams == 2 and name in ARGUMENTS else {}))
    maps = list(MAPS[:streams])
    expected = np.asarray(layer(*maps, mask=MASKS[:streams].all(0)))
    assert np.isfinite(expected).all()
    model = functional(layer, maps)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    results = [layer(*map(MaskNaN(), maps))]
    assert (getattr(results[0], "_keras_mask", None) is not None) == (name == "Projection")
    results += [one(maps) for one in (model, clone, loaded)]
    results.append(model.predict(maps, verbose=0))
    for result in results:
        np.testing.assert_allclose(np.asarray(result), expected, **RECOMPUTED)


@pytest.mark.parametrize("name", LAYERS)
def test_a_mask_is_no_positional_argument(name: str) -> None:
    maps = [MAP] * (2 if name == "HierarchicalBilinearPool" else 1)
    with pytest.raises((TypeError, ValueError)):
        make(name)(*maps, keras.ops.convert_to_tensor(MASKS[0]))


@pytest.mark.parametrize("name", ["CovariancePool", "ImprovedBilinearPool", "AveragePool"])
def test_a_second_map_is_refused_by_a_layer_of_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: the layer is for one stream"):
        make(name)(MAP, MAP)
    with pytest.raises(ValueError, match=f"{name}: the layer is for one stream"):
        make(name)(keras.Input((None, None, 3)), keras.Input((None, None, 3)))


@pytest.mark.parametrize("name", [n for n in LAYERS if "seed" in LAYERS[n].arguments])
def test_a_configuration_makes_an_equal_layer(name: str) -> None:
    layer = make(name, seed=3, data_format="channels_first", dtype="float64")
    config = layer.get_config()
    assert LAYERS[name].arguments.keys() <= config.keys()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    for weight, other in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("name", [n for n in LAYERS if "seed" in LAYERS[n].arguments])
def test_without_a_seed_weights_differ_each_time(name: str) -> None:
    first, second = (make(name, seed=None).get_weights() for _ in range(2))
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
    assert make(name, seed=None).get_config()["seed"] is None


@pytest.mark.parametrize("path", sorted(OLD_FILES.glob("*.keras")), ids=lambda path: path.stem)
def test_archives_written_before_0_1_open(path: Path) -> None:
    arrays = np.load(OLD_FILES / "logits.npz")
    images = np.moveaxis(arrays["images"], 1, -1)
    model = keras.saving.load_model(path)
    logits = driver("tensorflow").logits(model, images)
    assert relative_error(logits, arrays[path.stem]) <= LOGITS["float32"]
