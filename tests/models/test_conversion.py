"""Conversion of the portable file to each framework's own files and back."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.data.images import Preprocessing
from bilinear.models.conversion import FORMS, convert

from ..subjects import PRESENT, driver
from .test_models import images
from .test_state_dict import PLACEHOLDERS, TOOLS, prefixed

CASES: dict[str, dict[str, Any]] = {
    "projected": {"projection": 8},
    "tables": {"pool": "hawkeye-cbp"},
    "bfloat16": {"projection": 8, "dtype": "bfloat16", "in_channels": 2},
}
FOUND = {name: form for name, form in FORMS.items() if form.framework in PRESENT}
over_forms = pytest.mark.parametrize("form", FOUND)
needs_torch = pytest.mark.skipif("torch" not in PRESENT, reason="of PyTorch's files")
needs_keras = pytest.mark.skipif("tensorflow" not in PRESENT, reason="of Keras' files")


def saved(path: Path, form: str, **options: Any) -> Path:
    """A portable file, written by the form's framework."""
    backend = driver(FORMS[form].framework)
    model = backend.model("resnet18", 3, taps=("layer1",), seed=6, **options)
    channels = options.get("in_channels", 3)
    images = Preprocessing(64, mean=(0.5,) * channels, std=(0.25,) * channels)
    backend.save(model, path, classes=["a", "b", "c"], preprocessing=images)
    return path


def like(form: str, path: Path) -> Path | None:
    return None if FORMS[form].complete else path


@over_forms
@pytest.mark.parametrize("case", CASES)
def test_conversion_there_and_back_gives_equal_bytes(form: str, case: str, tmp_path: Path) -> None:
    """The form is that of the file's name, or the framework's for whole models, or is given."""
    options: Any = ({}, {})  # of the two conversions
    own, back = tmp_path / f"model{FORMS[form].suffixes[-1]}", tmp_path / "back.safetensors"
    if case != "projected":
        own = tmp_path / "own"
        options = ({"source_form": "portable", "target_form": form}, {"source_form": form})
    if case == "tables" and form != "keras-weights":
        options = ({"framework": FORMS[form].framework},) * 2
    file, backend = saved(tmp_path / "a.safetensors", form, **CASES[case]), FORMS[form].framework
    assert convert(file, own, **options[0])[:2] == ("portable", form)
    # a model of the same shape and other numbers: only the description may be taken from it
    other = driver(backend).load(file)
    tensors = driver(backend).tensors(other)
    shifted = {k: (v + 1).astype(v.dtype) for k, v in tensors.items() if not k.startswith("pool.")}
    driver(backend).assign(other, shifted)
    driver(backend).save(other, tmp_path / "like.safetensors")
    done = convert(own, back, like=like(form, tmp_path / "like.safetensors"), **options[1])
    assert (done.source, done.target, done.momentum_left) == (form, "portable", False)
    assert done.tensors == len(tensors)
    assert back.read_bytes() == file.read_bytes()
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@over_forms
def test_random_tables_of_another_model_are_refused(form: str, tmp_path: Path) -> None:
    """As averages of models by other tools can write them."""
    if FORMS[form].complete:
        pytest.skip("it says itself which model it is of")
    own, backend = tmp_path / f"own{FORMS[form].suffixes[0]}", driver(FORMS[form].framework)
    convert(saved(tmp_path / "a.safetensors", form, **CASES["tables"]), own)
    other = backend.model("resnet18", 3, taps=("layer1",), seed=7, **CASES["tables"])
    backend.save(other, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"pool\.h1 must be the table of like"):
        convert(own, tmp_path / "c.safetensors", like=tmp_path / "b.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


@over_forms
def test_converted_file_opens_with_the_framework_itself(form: str, tmp_path: Path) -> None:
    """The tensors have the names of the framework's own saving functions."""
    file = saved(tmp_path / "model.safetensors", form, projection=8)
    x, backend = images(1, (32, 32), "float32"), driver(FORMS[form].framework)
    expected = backend.logits(backend.load(file), x)
    empty = backend.load(saved(tmp_path / "other.safetensors", form, projection=8))
    zeros = {k: np.zeros_like(v) for k, v in backend.tensors(empty).items()}
    backend.assign(empty, zeros)
    own = tmp_path / f"own{FORMS[form].suffixes[0]}"
    convert(file, own)
    np.testing.assert_array_equal(backend.logits(OPEN[form](empty, own), x), expected)


def _torch(model: Any, path: Path) -> Any:
    torch = importlib.import_module("torch")
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def _keras(model: Any, path: Path) -> Any:
    return importlib.import_module("keras").saving.load_model(path)


def _keras_weights(model: Any, path: Path) -> Any:
    model.load_weights(path)
    return model


def _orbax(model: Any, path: Path) -> Any:
    nnx, ocp = (importlib.import_module(name) for name in ("flax.nnx", "orbax.checkpoint"))
    with ocp.StandardCheckpointer() as checkpointer:
        nnx.update(model, checkpointer.restore(path, nnx.state(model)))
    return model


OPEN = {"torch": _torch, "keras": _keras, "keras-weights": _keras_weights, "orbax": _orbax}


@over_forms
def test_wrong_tensor_is_named_and_nothing_is_written(form: str, tmp_path: Path) -> None:
    if FORMS[form].complete:
        pytest.skip("it says itself which model it is of")
    own, target = tmp_path / f"own{FORMS[form].suffixes[0]}", tmp_path / "out.safetensors"
    file = saved(tmp_path / "a.safetensors", form, projection=8)
    convert(file, own)
    target.write_bytes(b"before")
    for words, options in (
        ("projection.* must not be there", {"pool": "BilinearPool"}),
        ("must be float32 .*; got float32 ", {"projection": 7}),
        ("must be bfloat16|must be void|must be uint16", {"projection": 8, "dtype": "bfloat16"}),
    ):
        other = saved(tmp_path / "b.safetensors", form, **options)
        with pytest.raises(ValueError, match=f"convert {own}: tensor .*{words}"):
            convert(own, target, like=other)
    convert(saved(tmp_path / "b.safetensors", form), tmp_path / own.name.replace("own", "bare"))
    with pytest.raises(ValueError, match=r"tensor .*projection.* must be there"):
        convert(tmp_path / own.name.replace("own", "bare"), target, like=file)
    assert target.read_bytes() == b"before"


@over_forms
def test_foreign_file_is_refused(form: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors", form, projection=8)
    own, target = tmp_path / f"own{FORMS[form].suffixes[0]}", tmp_path / "out.safetensors"
    with pytest.raises(FileNotFoundError):
        convert(own, target, like=like(form, file))
    inner = own
    if form == "orbax":
        own.mkdir()
        inner = own / "_METADATA"
    else:
        own.write_bytes(b"PK\x03\x04 this is no model")
    with pytest.raises(ValueError, match=f"convert {own}: the (file|folder) must be"):
        convert(own, target, like=like(form, file))
    for received, content in PLACEHOLDERS.items():
        inner.write_bytes(content)
        with pytest.raises(
            ValueError, match=f"convert {own}: .*tensors of a model; got {received}"
        ):
            convert(own, target, like=like(form, file))
    if form == "orbax":
        inner.write_bytes(b"{}")
        inner = own / "values"
    inner.unlink(missing_ok=True)
    os.mkfifo(inner)
    with pytest.raises(OSError, match=f"{inner}: the path must name a regular file; got a FIFO"):
        convert(own, target, like=like(form, file))
    assert not target.exists()


def test_contradictory_arguments_are_refused(tmp_path: Path) -> None:
    """The error comes before any file is opened."""
    a, b, pt = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.pt"))
    cases: Any = (
        ("exactly one of the two files must be portable; got portable to portable", (a, b), {}),
        ("got torch to keras", (pt, tmp_path / "d.keras"), {}),
        ("torch to portable needs a portable file as like; got like=None", (pt, a), {}),
        ("portable to torch needs no portable file as like", (a, pt), {"like": b}),
        ("keras to portable needs no", (tmp_path / "d.keras", a), {"like": b}),
        ("a name must end in one of .safetensors, .pt, .pth, .keras", (tmp_path / "x", a), {}),
        ("a format must be one of portable, torch", (pt, a), {"source_form": "onnx"}),
        ("of the format torch must be torch; got 'jax'", (a, pt), {"framework": "jax"}),
        ("must be one of torch, tensorflow, jax; got 'x'", (a, pt), {"framework": "x"}),
        ("got torch to torch", (tmp_path / "x", tmp_path / "y"), {"framework": "torch"}),
    )
    for words, arguments, options in cases:
        with pytest.raises(ValueError, match=words):
            convert(*arguments, **options)


@needs_torch
def test_a_state_dict_of_a_training_script(tmp_path: Path) -> None:
    """As every tool saves it; pickles and values that are not finite are refused."""
    torch = importlib.import_module("torch")
    file = saved(tmp_path / "a.safetensors", "torch", projection=8)
    own, back = tmp_path / "own.pth", tmp_path / "back.safetensors"
    state = driver("torch").load(file).state_dict()
    for tool, save in TOOLS.items():
        torch.save(save(state), own)
        back.unlink(missing_ok=True)
        convert(own, back, like=file)
        assert back.read_bytes() == file.read_bytes(), tool
    tensors = tmp_path / "tensors.safetensors"  # as of Accelerate
    importlib.import_module("safetensors.torch").save_file(prefixed("module.", state), tensors)
    back.unlink()
    convert(tensors, back, like=file, source_form="torch")
    assert back.read_bytes() == file.read_bytes()
    broken = state | {"classifier.bias": torch.full((3,), torch.nan)}
    torch.save(broken, own)
    with pytest.raises(ValueError, match=r"tensor 'classifier.bias' must be finite"):
        convert(own, back, like=file)
    torch.save({"model": state, "other": Path}, own)
    with pytest.raises(ValueError, match=r"torch.load\(weights_only=True\) reads"):
        convert(own, back, like=file)
    assert back.read_bytes() == file.read_bytes()


@needs_torch
def test_left_out_momentum_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = driver("torch").model("resnet18", 3, taps=("layer1",), projection=8)
    x, labels = images(2, (32, 32), "float32"), np.array([0, 2])
    state = driver("torch").sgd_step(model, x, labels, None, lr=0.1, momentum=0.9)
    file = tmp_path / "a.safetensors"
    driver("torch").save(model, file, momentum=driver("torch").momentum(model, state))
    assert convert(file, tmp_path / "a.pt").momentum_left
    pytest.importorskip("typer")
    run, own = importlib.import_module("bilinear.cli").run, tmp_path / "own"
    back = own, tmp_path / "b.safetensors", "--from", "torch", "--like", file
    for words, said, warned in (
        ((file, own, "--to", "torch"), "(portable) -> ", "SGD momentum buffers were dropped"),
        (back, "(torch) -> ", ""),
    ):
        assert run(["convert", *map(str, words)]) == 0
        out, err = capsys.readouterr()
        assert said in out
        assert warned in err
        assert bool(err) == bool(warned)


@needs_keras
def test_an_archive_of_another_network_is_refused(tmp_path: Path) -> None:
    keras = importlib.import_module("keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"must hold a bilinear.tensorflow.BCNN; got keras"):
        convert(tmp_path / "a.keras", tmp_path / "a.safetensors")


@pytest.mark.skipif("jax" not in PRESENT, reason="of Orbax's folders")
def test_a_pure_dictionary_is_read_too_and_a_folder_is_not_replaced(tmp_path: Path) -> None:
    nnx, ocp = (importlib.import_module(name) for name in ("flax.nnx", "orbax.checkpoint"))
    file = saved(tmp_path / "a.safetensors", "orbax", projection=8)
    with ocp.StandardCheckpointer() as checkpointer:
        state = nnx.to_pure_dict(nnx.state(driver("jax").load(file)))
        checkpointer.save(tmp_path / "own.orbax", state)
    convert(tmp_path / "own.orbax", tmp_path / "b.safetensors", like=file)
    assert (tmp_path / "b.safetensors").read_bytes() == file.read_bytes()
    with pytest.raises(FileExistsError, match="the folder must be new"):
        convert(file, tmp_path / "own.orbax")


REFUSAL = """
import sys
from bilinear.models.conversion import convert
try:
    convert(sys.argv[1], sys.argv[2], like=sys.argv[3])
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif("jax" not in PRESENT, reason="of Orbax's folders")
def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    """Damaged values in a separate process: Orbax leaves reads behind that fail later."""
    file, target = saved(tmp_path / "a.safetensors", "orbax", projection=8), tmp_path / "b"
    own = tmp_path / "own.orbax"
    convert(file, own)
    words = "the folder must be a checkpoint that Orbax reads"
    for part in own.rglob("d/*"):
        part.write_bytes(part.read_bytes()[:20])
    command = [sys.executable, "-c", REFUSAL, own, target.with_suffix(".safetensors"), file]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert f"convert {own}: {words}" in result.stdout, result.stderr
    (own / "_METADATA").write_bytes(b"{")
    with pytest.raises(ValueError, match=words):
        convert(own, target, like=file, target_form="portable")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "own.orbax"]
