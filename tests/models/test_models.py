"""B-CNNs of one seed are equal in every framework: logits, gradients, statistics.

A rigorous rounding bound for a whole network is vacuous, so in float64 frameworks are compared
with each other to the statistical estimates in `tolerances.py`, and in float32 each with its own
float64.
"""

import itertools

import numpy as np
import pytest

from bilinear import reference
from bilinear.models.plan_layers import BatchNorm, Conv
from bilinear.models.plans import BACKBONES, CHANNELS, TAPS, is_parameter
from bilinear.testing.closeness import assert_rounded

from ..agreement import assert_models_agree, nudge, relative_error
from ..subjects import PRESENT, driver
from ..tolerances import GRADIENTS, LOGITS, SPREAD

ARCHITECTURES = {
    "vgg16": {"backbone": "vgg16"},
    "resnet18": {"backbone": "resnet18"},
    "resnet18 twice": {"backbone": "resnet18", "backbone_b": "resnet18"},
    "vgg16 and resnet18": {"backbone": "vgg16", "backbone_b": "resnet18"},
}
DEEPER = {
    "resnet50 to layer1": {"backbone": "resnet50", "taps": ("layer1",), "projection": 8},
    "resnet34": {"backbone": "resnet34"},
    "resnet101": {"backbone": "resnet101", "projection": 8},
    "vgg19 and resnet50": {"backbone": "vgg19", "backbone_b": "resnet50", "projection": 8},
    "vgg16_bn": {"backbone": "vgg16_bn"},
    "vgg19_bn": {"backbone": "vgg19_bn"},
    "inception_v3": {"backbone": "inception_v3", "projection": 8},
    "inception_v3 to Mixed_6b": {
        "backbone": "inception_v3",
        "taps": ("Mixed_6b",),
        "projection": 8,
    },
}
"""Networks of the same layers, bottlenecks, and paths that are concatenated."""
CLASSES = 3
over_architectures = pytest.mark.parametrize("architecture", ARCHITECTURES)
over_backends = pytest.mark.parametrize("backend", PRESENT)
needs_two = pytest.mark.skipif(len(PRESENT) < 2, reason="there is nothing to compare with")


def images(n: int, size: tuple[int, int], dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(7).standard_normal((n, *size, 3)).astype(dtype)


def size(architecture: str, usual: tuple[int, int]) -> tuple[int, int]:
    """The usual size of images; Inception v3 has 1 × 2 locations left of a larger one."""
    return (83, 107) if architecture.startswith("inception_v3") else usual


def build(backend: str, architecture: str, **options):
    given = (ARCHITECTURES | DEEPER)[architecture]
    return driver(backend).model(num_classes=CLASSES, **given, **options)


def test_every_named_backbone_is_tested() -> None:
    assert {a["backbone"] for a in (ARCHITECTURES | DEEPER).values()} == set(BACKBONES)


@needs_two
@pytest.mark.parametrize("architecture", ARCHITECTURES | DEEPER)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_logits_gradients_and_statistics_agree(architecture: str, training: bool) -> None:
    """In float64: at odd sizes such as 67 × 70 every padding and every dropped window matters.

    Many BatchNorm layers in training amplify roundings above the estimates. Then the frameworks may
    differ as much as one of them does if images and parameters change by an ulp.
    """
    x, rng = images(3, size(architecture, (67, 70))), np.random.default_rng(8)
    given = architecture, x, rng.standard_normal((3, CLASSES)), training
    results = {backend: _results(backend, *given) for backend in PRESENT}
    own: dict[str, float] = {}
    if training and architecture in DEEPER:
        nudged = _results(PRESENT[0], *given, nudges=rng)
        own = {k: relative_error(v, results[PRESENT[0]][k]) for k, v in nudged.items()}
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        assert_models_agree(first, second, "float64", f"{architecture}, {a} against {b}", own)


def _results(
    backend: str,
    architecture: str,
    x: np.ndarray,
    cotangent: np.ndarray,
    training: bool,
    nudges: np.random.Generator | None = None,
) -> dict[str, np.ndarray]:
    """Logits, gradients of parameters and images, and the statistics afterwards.

    In training, the gradient of a bias before a BatchNorm layer is 0 up to rounding, which is
    checked here, because no relative error can be.
    """
    one, model = driver(backend), build(backend, architecture, dtype="float64")
    if nudges is not None:
        own = one.tensors(model).items()
        one.assign(model, {k: nudge(v, nudges) for k, v in own if is_parameter(k)})
        x = nudge(x, nudges)
    logits, gradients, dx = one.gradients(model, x, cotangent, training=training)
    for name in _biases_before_batch_norm(architecture) if training else ():
        bias, weight = gradients.pop(name), gradients[name.removesuffix("bias") + "weight"]
        assert np.linalg.norm(bias) <= GRADIENTS["float64"] * np.linalg.norm(weight), name
    after = {f"{k} afterwards": v for k, v in one.tensors(model).items() if "running" in k}
    return {"logits": logits, "images": dx, **gradients, **after}


def _biases_before_batch_norm(architecture: str) -> list[str]:
    layers = BACKBONES[(ARCHITECTURES | DEEPER)[architecture]["backbone"]]
    return [
        f"backbone.{conv.name}.bias"
        for conv, norm in itertools.pairwise(layers)
        if isinstance(conv, Conv) and conv.bias and isinstance(norm, BatchNorm)
    ]


@over_architectures
def test_float32_errs_no_more_than_the_other_frameworks(architecture: str) -> None:
    x = images(2, (64, 64))
    errors = {}
    for backend in PRESENT:
        exact = driver(backend).logits(build(backend, architecture, dtype="float64"), x)
        narrow = build(backend, architecture, dtype="float32")
        logits = driver(backend).logits(narrow, x.astype(np.float32))
        errors[backend] = relative_error(logits, exact)
    for backend, error in errors.items():
        others = [e for b, e in errors.items() if b != backend]
        assert error <= LOGITS["float32"], f"{architecture}, {backend}: {errors}"
        assert error <= SPREAD * max(others, default=error), f"{architecture}, {backend}: {errors}"


@over_backends
@over_architectures
def test_descriptors_and_feature_maps(backend: str, architecture: str) -> None:
    """The descriptor is `bilinear_pool` of the maps, resampled to the smaller extents."""
    x = images(2, (64, 80), "float64")
    model = build(backend, architecture, dtype="float64")
    maps = driver(backend).feature_maps(model, x)
    sizes = {"vgg16": (4, 5), "resnet18": (2, 3)}
    names = [v for k, v in ARCHITECTURES[architecture].items() if k.startswith("backbone")]
    assert [m.shape for m in maps] == [(2, *sizes[n], 512) for n in names]
    if len(names) == 1:
        taps = {"vgg16": ("relu5_3", "relu4_1"), "resnet18": ("layer4", "layer1")}[names[0]]
        cut = build(backend, architecture, dtype="float64", taps=taps)
        np.testing.assert_array_equal(driver(backend).feature_maps(cut, x)[0], maps[0])
    descriptors = driver(backend).descriptors(model, x)
    assert descriptors.shape == (2, 512 * 512)
    terms = 2 * 512 + 40  # √ of those of a norm, whose roundings are independent, and the rest
    assert_rounded(np.linalg.norm(descriptors, axis=1), 1, terms)
    height, width = (min(m.shape[axis] for m in maps) for axis in (1, 2))
    flat = [_resampled(m, height, width).reshape(2, -1, 512) for m in maps]
    expected = reference.bilinear_pool(*flat)
    # √ turns an error of one ulp beside 0 into its root: compare G, which is exact to rounding
    squares = [np.sign(z) * z**2 for z in (descriptors, expected)]
    assert_rounded(*squares, terms)


@pytest.mark.full
@over_backends
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_last_tap_is_the_map_of_the_backbone(backend: str, backbone: str) -> None:
    x = images(1, size(backbone, (64, 80)), "float32")
    given = {"num_classes": CLASSES, "projection": 8}
    (whole,) = driver(backend).feature_maps(driver(backend).model(backbone, **given), x)
    expected = {"res": (2, 3), "vgg": (4, 5), "inc": (1, 2)}[backbone[:3]]
    assert whole.shape == (1, *expected, CHANNELS[backbone])
    cut = driver(backend).model(backbone, **given, taps=[*TAPS[backbone]][-1:])
    np.testing.assert_array_equal(driver(backend).feature_maps(cut, x)[0], whole)


def _resampled(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Half-pixel centers, edge-clamped, no antialiasing: each axis as a matrix."""
    return np.einsum(
        "hH,wW,nHWc->nhwc", _axis(x.shape[1], height), _axis(x.shape[2], width), x, optimize=True
    )


def _axis(size: int, new: int) -> np.ndarray:
    centers = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(size)))


@needs_two
@pytest.mark.parametrize("size", [(448, 448), (17, 40)], ids=["full", "smaller than kernels"])
@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
def test_extreme_sizes(backbone: str, size: tuple[int, int]) -> None:
    """One forward and gradient at the size the networks are used at, and on maps of 1 × 2.

    In float64: in float32 the image gradients of one framework err by some 1e-3 from its own
    float64, in ReLUs that fall the other way.
    """
    x = images(1, size)
    cotangent = np.ones((1, CLASSES))
    results = {}
    for backend in PRESENT:
        model = build(backend, backbone, dtype="float64")
        logits, gradients, dx = driver(backend).gradients(model, x, cotangent, training=False)
        results[backend] = {"logits": logits, "images": dx, **gradients}
        del model
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        assert_models_agree(first, second, "float64", f"{backbone} at {size}, {a} against {b}")


@over_backends
def test_bad_arguments_and_images(backend: str) -> None:
    model = driver(backend).model
    for kind, words, arguments in (
        (ValueError, "backbone must be a .* or one of vgg16, .*got 'vgg17'", {"backbone": "vgg17"}),
        (TypeError, "backbone must be", {"backbone": 3}),
        (ValueError, "num_classes must be a positive integer; got 0", {"num_classes": 0}),
        (ValueError, "dtype must be one of", {"dtype": "int8"}),
    ):
        with pytest.raises(kind, match=words):
            model(**{"backbone": "vgg16", "num_classes": CLASSES} | arguments)
    resnet, x = model("resnet18", CLASSES), images(1, (32, 32), "float32")
    with pytest.raises(Exception, match="in training each channel needs more than one value"):
        driver(backend).logits(resnet, x, training=True)
    for network, words, wrong in (
        (resnet, "images must be normalized real numbers; got uint8", x.astype(np.uint8)),
        (resnet, r"images must be \(N, ", x[..., :2]),
        (model("vgg16", CLASSES), "images must be at least 16 × 16", x[:, :15]),
    ):
        with pytest.raises(Exception, match=words):
            driver(backend).logits(network, wrong)
