"""Libraries of Keras networks. `KERAS_BACKEND` selects TensorFlow, JAX or PyTorch."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bilinear import reference
from bilinear.keras import BCNN, SGD, BilinearPool, load, save

from . import CLASSES, check, compare

IMAGES = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype("float32")
LABELS = np.arange(4) % CLASSES
LEVELS = {"name": "HierarchicalBilinearPool", "dim": 16}


def to_numpy(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def fit(model: Any) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(SGD(0.05), loss, jit_compile=False)
    history = model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def train_on(backbone: Any, again: Any, **options: Any) -> str:
    """Train a BCNN, compare its descriptors with NumPy, and open its two files."""
    model = BCNN(backbone, CLASSES, channels=backbone.output_shape[-1], **options)
    fit(model)
    (maps,) = map(to_numpy, model.pooled_maps(IMAGES))
    expected = reference.bilinear_pool(maps.reshape(len(maps), -1, maps.shape[-1]))
    descriptors = compare(to_numpy(model.descriptors(IMAGES)), expected)
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder, "model.safetensors"), name="custom")
        model.save(Path(folder, "model.keras"))
        opened: list[Any] = [load(Path(folder, "model.safetensors"), backbone=again)]
        opened.append(keras.saving.load_model(Path(folder, "model.keras")))
    logits = to_numpy(model(IMAGES))
    found = [compare(to_numpy(other(IMAGES)), logits) for other in opened]
    return f"trained; descriptors and NumPy: {descriptors}; logits of the files: {', '.join(found)}"


def mobilenet() -> Any:
    options: dict[str, Any] = {"alpha": 0.25, "include_top": False, "weights": None}
    return keras.applications.MobileNet((64, 64, 3), **options)


@check("`keras.applications`, the last map")
def applications(keras: Any) -> str:
    return train_on(mobilenet(), mobilenet(), projection=16)


@check("`keras.applications`, two maps")
def applications_two_maps(keras: Any) -> str:
    network = mobilenet()
    maps = [network.get_layer(name).output for name in ("conv_pw_11_relu", "conv_pw_13_relu")]
    channels = tuple(x.shape[-1] for x in maps)
    fit(BCNN(keras.Model(network.input, maps), CLASSES, channels=channels, pool=LEVELS))
    return "trained"


@check("`BilinearPool` in `keras.Sequential`")
def sequential(keras: Any) -> str:
    last = keras.layers.Dense(CLASSES)
    fit(keras.Sequential([mobilenet(), keras.layers.Conv2D(16, 1), BilinearPool(), last]))
    return "trained"


@check("`ResNetBackbone`, and two maps of its `pyramid_outputs`")
def hub_resnet(keras_hub: Any, keras: Any) -> str:
    def network() -> Any:
        sizes = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
        stacks = {"filters": [64, 32], "blocks": [1, 1], "strides": [1, 2]}
        sizes |= {f"stackwise_num_{name}": given for name, given in stacks.items()}
        return keras_hub.models.ResNetBackbone(**sizes, block_type="basic_block")

    levels = network()
    maps = list(levels.pyramid_outputs.values())
    channels = tuple(x.shape[-1] for x in maps)
    fit(BCNN(keras.Model(levels.input, maps), CLASSES, channels=channels, pool=LEVELS))
    return train_on(network(), network())


@check("tokens of `ViTBackbone`")
def hub_vit(keras_hub: Any, keras: Any) -> str:
    def tokens() -> Any:
        sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "patch_size": 16}
        network = keras_hub.models.ViTBackbone(image_shape=(64, 64, 3), **sizes)
        return keras.Sequential([network, keras.layers.Cropping1D((1, 0))])  # no class token

    return train_on(tokens(), tokens())
