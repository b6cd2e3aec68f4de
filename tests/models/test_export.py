"""Export of a model: the formats, what they contain, and what is refused."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilinear.data.images import Preprocessing, load_images, load_pixels
from bilinear.models.export import FORMS, TOLERANCE, export

from ..agreement import relative_error
from ..subjects import PRESENT, driver, needs_a_framework

pytestmark = needs_a_framework

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
if not PAGE.is_file():
    pytest.skip("the documents are elsewhere", allow_module_level=True)

*_, CLASSIFY = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
OPEN = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
PREPROCESSING = Preprocessing(24, 28)
CLASSES = ("finch", "robin", "wren")
RUNNABLE = [
    name
    for name, form in FORMS.items()
    if form.framework in PRESENT and all(map(importlib.util.find_spec, form.packages))
]
OR_SKIPPED = [
    pytest.param(name, marks=[] if name in RUNNABLE else pytest.mark.skip(f"needs {form.extra}"))
    for name, form in FORMS.items()
]


def save_model(folder: Path, preprocessing: Preprocessing | None = PREPROCESSING, **given) -> Path:
    """Save a small model with the first framework."""
    made, path = driver(PRESENT[0]), folder / "birds.safetensors"
    if given.get("pool") == "by eigenvectors":
        namespace = importlib.import_module(f"bilinear.{PRESENT[0]}")
        given["pool"] = namespace.CovariancePool("eigen")
    options = {"taps": ("layer1",), "projection": 6, "pool": "CovariancePool", "seed": 3} | given
    model = made.model("resnet18", len(CLASSES), **options)
    made.save(model, path, classes=CLASSES, preprocessing=preprocessing)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "bird.jpg")
    return tmp_path / "bird.jpg"


@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("with_preprocessing", [False, True], ids=["normalized", "pixels"])
@pytest.mark.parametrize("form", OR_SKIPPED)
def test_an_exported_model_gives_the_logits(
    form: str, with_preprocessing: bool, tmp_path: Path, image: Path, monkeypatch, capsys
) -> None:
    """Run by the examples of the page."""
    source, target = save_model(tmp_path), tmp_path / f"birds{FORMS[form].suffix}"
    found = export(source, target, images=[image], with_preprocessing=with_preprocessing)
    assert found.form == form
    assert found.difference <= TOLERANCE
    assert found.size > 10_000
    x = load_images([image] * 3, PREPROCESSING)
    expected = driver(PRESENT[0]).logits(driver(PRESENT[0]).load(source), x)
    given = np.stack([load_pixels(image, PREPROCESSING)] * 3) if with_preprocessing else x
    if not with_preprocessing and FORMS[form].framework == "torch":
        given = np.moveaxis(given, -1, 1)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(OPEN[form], names)
    assert relative_error(names["run"](given), expected) <= TOLERANCE
    said = json.loads(names["text"])
    assert said["classes"] == [*CLASSES]
    assert Preprocessing.from_dict(said["preprocessing"]) == PREPROCESSING
    assert ("uint8" in said["images"]) == with_preprocessing
    assert not [*tmp_path.glob(".*")]
    if with_preprocessing:
        capsys.readouterr()
        exec(CLASSIFY, names)
        assert capsys.readouterr().out == f"{CLASSES[expected[0].argmax()]}\n"
        assert relative_error(names["logits"], expected[:1]) <= TOLERANCE


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(24),
        Preprocessing((24, 31), 35),
        Preprocessing((20, 29)),
        Preprocessing((20, 24), square=True),
        Preprocessing(24, 28, square=True),
    ],
    ids=str,
)
def test_the_page_prepares_the_image(
    preprocessing: Preprocessing, image: Path, monkeypatch, capsys
) -> None:
    """With the pixels of `load_pixels`, also of an image on its side."""
    monkeypatch.chdir(image.parent)
    text = json.dumps({"classes": CLASSES, "preprocessing": preprocessing.to_dict()})
    for orientation in 1, 6:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.open(image).save(image, exif=exif)
        names: dict[str, Any] = {"text": text, "run": lambda pixels: np.eye(3)[1:2]}
        exec(CLASSIFY, names)
        assert capsys.readouterr().out == "robin\n"
        np.testing.assert_array_equal(names["pixels"], load_pixels(image, preprocessing))


@pytest.mark.skipif(not RUNNABLE, reason="needs PyTorch or TensorFlow")
def test_a_file_with_other_logits_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = importlib.import_module(f"bilinear.models.{FORMS[RUNNABLE[0]].framework}.export")
    run = runner.run
    monkeypatch.setattr(runner, "run", lambda *given: run(*given) * (1 + 2 * TOLERANCE))
    form = next(name for name in RUNNABLE if name in ("torch.export", "SavedModel"))
    source, target = save_model(tmp_path), tmp_path / f"birds{FORMS[form].suffix}"
    with pytest.raises(ValueError, match=r"the logits must be those of the model within 8e-05"):
        export(source, target)
    assert {path.name for path in tmp_path.iterdir()} == {"birds.safetensors"}


@pytest.mark.parametrize(
    ("words", "name", "options"),
    [
        (r"must end in one of \.onnx, \.pt2, \.tflite; got '.*birds\.xml'", "birds.xml", {}),
        ("the model must be float32; got float64", "birds.pt2", {"dtype": "float64"}),
        ("must contain the preprocessing", "birds.pt2", {"preprocessing": None}),
        ("ONNX has no eigenvectors", "birds.onnx", {"pool": "by eigenvectors"}),
        ("an output must not replace an input", "birds.safetensors", {}),
    ],
)
def test_refusals(words: str, name: str, options: dict, tmp_path: Path) -> None:
    source = save_model(tmp_path, **options)
    before = source.read_bytes()
    with pytest.raises(ValueError, match=words):
        export(source, tmp_path / name)
    assert source.read_bytes() == before
    assert [*tmp_path.iterdir()] == [source]


@pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch writes ONNX files")
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, find = save_model(tmp_path), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name)
    )
    words = r"needs onnx and onnxscript and onnxruntime.*pip install 'bilinear\[onnx\]'"
    with pytest.raises(ImportError, match=words):
        export(source, tmp_path / "birds.onnx")


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    if "SavedModel" not in RUNNABLE:
        pytest.skip("TensorFlow is not installed")
    (tmp_path / "birds").mkdir()
    with pytest.raises(OSError, match="the folder must be new"):
        export(save_model(tmp_path), tmp_path / "birds")


needs_tensorflow = pytest.mark.skipif("tensorflow" not in PRESENT, reason="LiteRT is TensorFlow's")


@needs_tensorflow
def test_the_iterated_root_has_no_operation_that_litert_lacks() -> None:
    tf, namespace = map(importlib.import_module, ("tensorflow", "bilinear.tensorflow"))
    spec = tf.TensorSpec((None, 3, 3), tf.float32)
    graph = tf.function(namespace.matrix_sqrt).get_concrete_function(spec).graph
    assert not [op.type for op in graph.get_operations() if "DiagPart" in op.type]


@needs_tensorflow
@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_the_converter_of_litert_takes_a_keras_model() -> None:
    tf = importlib.import_module("tensorflow")
    made = driver("tensorflow")
    model = made.model("resnet18", 3, taps=("layer1",), projection=6, pool="CovariancePool")
    data = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    assert data[4:8] == b"TFL3"
