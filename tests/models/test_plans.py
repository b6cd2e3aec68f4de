"""Plans against torchvision's names and counts; the distribution of initial weights."""

import math

import numpy as np
import pytest

from bilinear.models import plans

BN = ("weight", "bias", "running_mean", "running_var")


def block_names(at, convolutions, downsample):
    names = []
    for number in range(1, convolutions + 1):
        names += [f"{at}.conv{number}.weight", *(f"{at}.bn{number}.{p}" for p in BN)]
    if downsample:
        names += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{p}" for p in BN)]
    return names


def resnet_names(counts, convolutions):
    """torchvision's ``state_dict()`` without fc and num_batches_tracked."""
    names = ["conv1.weight", *(f"bn1.{part}" for part in BN)]
    for layer, count in enumerate(counts, 1):
        for block in range(count):
            first = block == 0 and (layer > 1 or convolutions == 3)
            names += block_names(f"layer{layer}.{block}", convolutions, first)
    return names


RESNETS = {
    "resnet18": ((2, 2, 2, 2), 2, 11_689_512),
    "resnet34": ((3, 4, 6, 3), 2, 21_797_672),
    "resnet50": ((3, 4, 6, 3), 3, 25_557_032),
    "resnet101": ((3, 4, 23, 3), 3, 44_549_160),
}
"""Blocks of each group, convolutions of a block, and torchvision's number of parameters."""


@pytest.mark.parametrize("backbone", RESNETS)
def test_resnets_have_torchvisions_tensors(backbone):
    counts, convolutions, parameters = RESNETS[backbone]
    shapes = plans.tensor_shapes(backbone)
    assert list(shapes) == resnet_names(counts, convolutions)
    found = sum(math.prod(s) for name, s in shapes.items() if plans.is_parameter(name))
    assert found == parameters - 1000 * (plans.CHANNELS[backbone] + 1)  # less fc
    assert shapes["conv1.weight"] == (64, 3, 7, 7)


def test_the_stride_of_a_bottleneck_is_in_its_middle():
    shapes = plans.tensor_shapes("resnet50")
    assert shapes["layer2.0.conv1.weight"] == (128, 256, 1, 1)
    assert shapes["layer2.0.conv2.weight"] == (128, 128, 3, 3)
    assert shapes["layer2.0.conv3.weight"] == (512, 128, 1, 1)
    assert shapes["layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    blocks = [layer for layer in plans.BACKBONES["resnet50"] if isinstance(layer, plans.Block)]
    convolutions = [layer for layer in blocks[3].residual if isinstance(layer, plans.Conv)]
    assert [(c.stride, c.padding) for c in convolutions] == [(1, 0), (2, 1), (1, 0)]


VGGS = {
    "vgg16": ((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), 14_714_688, "relu5_3"),
    "vgg19": (
        (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
        20_024_384,
        "relu5_4",
    ),
    "vgg16_bn": ((0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40), 14_723_136, "relu5_3"),
    "vgg19_bn": (
        (0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49),
        20_035_392,
        "relu5_4",
    ),
}
"""Indexes of the convolutions, parameters of torchvision's ``features``, and the last map."""


@pytest.mark.parametrize("backbone", VGGS)
def test_vggs_have_torchvisions_tensors(backbone):
    convolutions, parameters, last = VGGS[backbone]
    shapes = plans.tensor_shapes(backbone)
    expected = []
    for i in convolutions:
        expected += [f"features.{i}.{p}" for p in ("weight", "bias")]
        expected += [f"features.{i + 1}.{p}" for p in BN if backbone.endswith("_bn")]
    assert list(shapes) == expected
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert sum(math.prod(s) for n, s in shapes.items() if plans.is_parameter(n)) == parameters
    assert list(plans.TAPS[backbone])[-1] == last
    assert plans.least_side(backbone) == 16


def test_inception_v3_has_torchvisions_tensors():
    """Without AuxLogits and fc; kernels, BatchNorm's eps and order are checked by example."""
    shapes = plans.tensor_shapes("inception_v3")
    parts = [name.rpartition(".") for name in shapes]
    assert {last for _, _, last in parts} == set(BN)
    found = sum(math.prod(s) for name, s in shapes.items() if plans.is_parameter(name))
    assert found == 27_161_264 - 3_326_696 - 1000 * 2049  # the whole, less AuxLogits and fc
    assert len(shapes) == 94 * 5
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_6b.branch7x7_2.conv.weight"] == (128, 128, 1, 7)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    units = [path.removesuffix(".bn") for path, _, _ in parts if path.startswith("Mixed_7c")]
    ends = [unit.removeprefix("Mixed_7c.branch") for unit in dict.fromkeys(units)]
    assert [end for end in ends if not end.endswith(".conv")] == [
        *("1x1", "3x3_1", "3x3_2a", "3x3_2b"),
        *("3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b", "_pool"),
    ]
    mixed = {layer.name: layer for layer in plans.BACKBONES["inception_v3"]}
    assert isinstance(last := mixed["Mixed_7c"], plans.Mixed)
    assert [unit.layers[1].eps for unit in last.layers] == [1e-3] * 9
    assert {name: plans.tapped("inception_v3", (name,))[name] for name in list(mixed)[7:]} == {
        **{"Mixed_5b": 256, "Mixed_5c": 288, "Mixed_5d": 288, "Mixed_6a": 768},
        **{f"Mixed_6{letter}": 768 for letter in "bcde"},
        **{"Mixed_7a": 1280, "Mixed_7b": 2048, "Mixed_7c": 2048},
    }
    assert plans.least_side("inception_v3") == 75


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match=r"one of vgg16, .*, inception_v3; got 'vgg17'"):
        plans.tensor_shapes("vgg17")


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
