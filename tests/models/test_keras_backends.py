"""`BCNN` of Keras on JAX and PyTorch: the logits, training and files of Keras on TensorFlow."""

import importlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bilinear.models.conversion import convert

from ..agreement import relative_error
from ..drivers.keras import BACKENDS, on
from ..subjects import driver
from ..tolerances import EARLY_RUN, GRADIENTS, LOGITS, SPREAD

if len(BACKENDS) < 2:
    pytest.skip("Keras has no second backend here", allow_module_level=True)

IMAGES = np.random.default_rng(0).standard_normal((4, 33, 40, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 2])
OTHERS = [
    pytest.param(backend, marks=[] if backend == "jax" else pytest.mark.full)
    for backend in BACKENDS
    if backend != "tensorflow"
]


@pytest.mark.parametrize("case", ["taps", pytest.param("inception_v3", marks=pytest.mark.full)])
@pytest.mark.parametrize("backend", OTHERS)
def test_logits_of_models_and_files(backend: str, case: str, tmp_path: Path) -> None:
    """Maps of two sizes, or concatenated ones; a file has the logits of its model."""
    path = tmp_path / "model.safetensors"
    images = IMAGES[:2, :9, :13] if case == "taps" else np.tile(IMAGES[:2], (1, 2, 2, 1))
    expected = on("tensorflow", "predict_model", case, images, path)
    found = on(backend, "predict_model", case, images)
    read = on(backend, "predict_file", path, images)
    assert np.linalg.norm(expected) > 1e-3
    assert relative_error(found, expected) <= LOGITS["float32"]
    assert relative_error(read, expected) <= LOGITS["float32"]


POLICIES = {
    "mixed_bfloat16": ("bfloat16", "float32"),
    "mixed_float16": ("float16", "float32"),
    "float64": ("float64", "float64"),
}
"""Dtype policy -> the dtypes of logits and of gradients."""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "tensorflow"])
def test_models_compute_as_their_dtype_policy_says(backend: str, policy: str) -> None:
    """The errors of half precision are real, and not much larger than those of TensorFlow.

    In float64 without a Dense layer, which Keras computes in float32 on PyTorch.
    """
    pool = "LowRankBilinearClassifier" if policy == "float64" else "BilinearPool"
    given = pool, IMAGES[:2, :9, :13], np.random.default_rng(1).standard_normal((2, 3))
    runs = ("tensorflow", "float64"), ("tensorflow", policy), (backend, policy)
    exact, expected, found = (on(name, "model_gradients", of, *given) for name, of in runs)
    of_logits, of_gradients = POLICIES[policy]
    for logits, gradients in (expected, found):
        assert logits.dtype.name == of_logits
        assert {value.dtype.name for value in gradients} == {of_gradients}
    for i, allowed in enumerate((LOGITS["float64"], GRADIENTS["float64"])):
        error, usual = (relative_error(_flat(run[i]), _flat(exact[i])) for run in (found, expected))
        if policy != "float64":
            allowed = SPREAD * usual  # noqa: PLW2901
            assert error >= ml_dtypes.finfo(of_logits).eps / (2 * SPREAD)
        assert error <= allowed


def _flat(arrays) -> np.ndarray:
    """One array or several as one vector."""
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_an_uncalled_model_is_quantized(tmp_path: Path) -> None:
    """Its classifier: both factors have steps of 1/127 of their largest value."""
    made, options = driver("tensorflow"), {"taps": ("relu1_1",), "projection": 8}
    images, path = IMAGES[:2, :9, :13], tmp_path / "model.keras"
    model, original = (made.model("vgg16_bn", 3, **options) for _ in range(2))
    model.quantize("int8")
    logits = made.logits(model, images)
    assert 0 < relative_error(logits, made.logits(original, images)) <= 4 / 127
    model.save(path)
    opened = importlib.import_module("keras").saving.load_model(path)
    np.testing.assert_array_equal(made.logits(opened, images), logits)
    portable = tmp_path / "model.safetensors"
    words = r"must not be quantized; got int8\. Save before quantizing, or .*'model\.keras'\)"
    with pytest.raises(TypeError, match=words):
        made.save(model, portable)
    with pytest.raises(ValueError, match=r"the classifier is quantized, int8\. .*load_model"):
        convert(path, portable)
    assert not portable.exists()


# a file says that the model was compiled, which Keras does not do on deterministic TensorFlow
@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`:UserWarning")
@pytest.mark.full
@pytest.mark.parametrize("case", ["resnet18", "two custom streams"])
def test_models_agree_and_open_each_others_files(case: str, tmp_path: Path) -> None:
    files, results = {}, {}
    for backend in BACKENDS:
        files[backend] = [tmp_path / f"{backend}{end}" for end in (".safetensors", ".keras")]
        results[backend] = on(backend, "train_model", case, *files[backend], IMAGES, LABELS)
    (first, trained), *others = results.values()
    assert relative_error(trained, first) > 0.1
    for before, after in others:
        assert relative_error(before, first) <= LOGITS["float32"]
        assert relative_error(after, trained) <= EARLY_RUN["parameters"]
    for writer, (portable, archive) in files.items():
        expected = results[writer][1]
        opened = [on(b, "open_model", case, portable, archive, IMAGES) for b in BACKENDS]
        found = [logits for pair in opened for logits in pair]
        if case == "resnet18":
            native = (driver(name) for name in BACKENDS)
            found += [d.logits(d.load(portable), IMAGES) for d in native]
        for logits in found:
            assert relative_error(logits, expected) <= LOGITS["float32"]
