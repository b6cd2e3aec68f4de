"""Plans against torchvision's names and counts; the distribution of initial weights."""

import math

import numpy as np
import pytest

from bilinear.models import plans

BN = ("weight", "bias", "running_mean", "running_var")


def resnet18_names():
    """torchvision's ``resnet18().state_dict()`` without fc and num_batches_tracked, spelled out."""
    names = ["conv1.weight", *(f"bn1.{part}" for part in BN)]
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            for number in (1, 2):
                names += [f"{at}.conv{number}.weight", *(f"{at}.bn{number}.{p}" for p in BN)]
            if layer > 1 and block == 0:
                names += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{p}" for p in BN)]
    return names


def test_resnet18_has_torchvisions_tensors():
    shapes = plans.tensor_shapes("resnet18")
    assert list(shapes) == resnet18_names()
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.conv1.weight"] == (128, 64, 3, 3)
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer4.1.bn2.running_var"] == (512,)
    parameters = sum(math.prod(s) for name, s in shapes.items() if plans.is_parameter(name))
    assert parameters == 11_689_512 - 1000 * 513  # torchvision's count less fc
    assert sum(not plans.is_parameter(name) for name in shapes) == 2 * 20


def test_vgg16_has_torchvisions_tensors():
    shapes = plans.tensor_shapes("vgg16")
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert list(shapes) == [f"features.{i}.{p}" for i in convolutions for p in ("weight", "bias")]
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.28.weight"] == (512, 512, 3, 3)
    assert sum(map(math.prod, shapes.values())) == 14_714_688  # vgg16().features


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="'vgg16' or 'resnet18'; got 'vgg19'"):
        plans.tensor_shapes("vgg19")


def test_initial_tensors_are_one_stream_of_draws():
    """Whole tensors drawn in canonical order, whatever the chunks they are drawn in."""
    model = "resnet18", "resnet18", plans.Head(3, 700_000, ((6, 512), (5, 512)))
    tensors = plans.initial_tensors(*model, seed=5, dtype="float64")
    rng = np.random.default_rng(5)
    for name, shape in plans.bcnn_shapes(*model).items():
        if len(shape) == 4:
            std = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            expected = rng.standard_normal(shape) * std
        elif len(shape) == 2:
            scale = 1 / shape[1] ** 0.5 if name.startswith("projection") else 0.01
            expected = rng.standard_normal(shape) * scale
        else:
            expected = np.full(shape, float(name.endswith(("n1.weight", "n2.weight", "var"))))
            if ".downsample.1.weight" in name:
                expected[:] = 1
        np.testing.assert_array_equal(tensors[name], expected, err_msg=name)


@pytest.mark.parametrize("dtype", plans.DTYPES)
def test_dtypes_differ_by_rounding_only(dtype):
    wide = plans.initial_tensors(None, None, plans.Head(3, 50), seed=1, dtype="float64")
    tensors = plans.initial_tensors(None, None, plans.Head(3, 50), seed=1, dtype=dtype)
    for name, array in tensors.items():
        assert array.dtype == plans.DTYPES[dtype]
        np.testing.assert_array_equal(array, wide[name].astype(plans.DTYPES[dtype]))
