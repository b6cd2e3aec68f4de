"""Native files that expand, refer to other files, or hold another model than they describe."""

import importlib
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.models.conversion import FORMS, convert
from bilinear.models.state_dict import open_state

from ..meta.test_mutated_images import is_read, mutate
from ..subjects import driver
from .test_conversion import FOUND, like, needs_keras, needs_torch, saved
from .test_state_dict import TENSORS


@needs_torch
def test_small_files_that_expand_are_refused(tmp_path: Path) -> None:
    """Before memory for their tensors is allocated: 40 TB in a stride of 0, and a zip bomb."""
    torch = importlib.import_module("torch")
    file = saved(tmp_path / "a.safetensors", "torch", projection=8)
    own, back = tmp_path / "own.pt", tmp_path / "back.safetensors"
    state = driver("torch").load(file).state_dict()
    torch.save(state | {"classifier.weight": torch.zeros(1).expand(10**7, 10**6)}, own)
    with pytest.raises(
        ValueError, match=r"'classifier.weight' must be stored; got 4 bytes for the"
    ):
        convert(own, back, like=file)
    torch.save(state, own)
    compress(own)
    with pytest.raises(
        ValueError, match=f"convert {own}: .*without compression; got [0-9,]* bytes"
    ):
        convert(own, back, like=file)
    assert not back.exists()


@needs_torch
@pytest.mark.full
@pytest.mark.parametrize("zipped", [True, False])
def test_mutated_checkpoints_are_read_or_refused(zipped: bool, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    framework = importlib.import_module("bilinear.models.torch.framework")
    path, rng = tmp_path / "a.pth", random.Random(7)
    tensors = {name: torch.from_numpy(array) for name, array in TENSORS.items()}
    saved_as = {"_use_new_zipfile_serialization": zipped}
    torch.save({"state_dict": tensors, "epoch": 3}, path, **saved_as)
    content = path.read_bytes()

    def read() -> None:
        op, known = f"weights {path}", TENSORS.__contains__
        with open_state(op, str(path), framework.read_pth, known) as state:
            for name in state.specs:
                state.read(name)

    for _ in range(1000):
        path.write_bytes(mutate(rng, content))
        is_read(read, str(path))


def compress(path: Path, **changed: bytes) -> None:
    """Write a zip archive again, with compression or with changed entries, {name: content}."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    method = zipfile.ZIP_STORED if changed else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in (content | changed).items():
            archive.writestr(name, data)


@needs_keras
def test_archive_must_describe_and_hold_one_model(tmp_path: Path) -> None:
    """A configuration is compared with the contents before layers are built from it."""
    file, target = saved(tmp_path / "a.safetensors", "keras", projection=8), tmp_path / "b"
    own = tmp_path / "own.keras"
    convert(file, own)
    content = own.read_bytes()
    config = json.loads(zipfile.ZipFile(own).read("config.json"))
    layer = {"registered_name": "mine>Pool", "class_name": "Pool", "config": {"dtype": "float32"}}
    pool = config["config"]["pool"]
    wide = pool | {"config": pool["config"] | {"dtype": "float64"}}
    for change, words in (
        (
            {"num_classes": 10**9, "classes": None},
            r"hold the 260,\d{3},\d{3},\d{3} bytes of .*; got",
        ),
        ({"num_classes": -1}, "num_classes must be a positive integer; got -1"),
        ({"backbone": layer}, "backbone is a custom layer. It is damaged, or has a custom or qu"),
        ({"pool": layer}, "must describe a BCNN; got KeyError: 'mine>Pool'"),
        ({"pool": wide}, "the pool has the dtype policy float64, the model float32"),
        ({"dtype": "quantized"}, "must describe a BCNN; got ValueError"),
    ):
        changed = config | {"config": config["config"] | change}
        own.write_bytes(content)
        compress(own, **{"config.json": json.dumps(changed).encode()})
        with pytest.raises(ValueError, match=f"convert {own}: .*{words}"):
            convert(own, target, target_form="portable")
    own.write_bytes(content)
    compress(own)
    with pytest.raises(
        ValueError, match=f"convert {own}: .*without compression; got [0-9,]* bytes"
    ):
        convert(own, target, target_form="portable")
    own.write_bytes(content[:-2000])
    with pytest.raises(ValueError, match=f"convert {own}: the file must be an archive of Keras"):
        convert(own, target, target_form="portable")
    assert not target.exists()


@needs_keras
@pytest.mark.parametrize("form", [form for form in FOUND if form.startswith("keras")])
def test_data_sets_of_keras_are_those_of_the_model(form: str, tmp_path: Path) -> None:
    """Variables of an optimizer are left out; any other data set, and another dtype, is refused."""
    h5py = importlib.import_module("h5py")
    file, back = saved(tmp_path / "a.safetensors", form, projection=8), tmp_path / "back"
    own = tmp_path / f"own{FORMS[form].suffixes[0]}"
    model = driver("tensorflow").load(file)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(own) if form == "keras" else model.save_weights(own)
    arguments: Any = {"like": like(form, file), "target_form": "portable"}
    convert(own, back, **arguments)
    assert back.read_bytes() == file.read_bytes()
    name = "classifier/vars/1"
    own.rename(tmp_path / "whole")
    for words, change in (
        ("'classifier/vars/1' must be float32 .*; got float64", {"data": np.zeros(3)}),
        ("'extra' must not be there", {"name": "extra", "data": np.zeros(3)}),
        ("'classifier/vars/1' of shape .10{13},. in", {"shape": (10**13,), "dtype": "f"}),
    ):
        shutil.copy(tmp_path / "whole", own)
        with weights_of(own) as path, h5py.File(path, "a") as inner:
            if "name" not in change:
                del inner[name]
            inner.create_dataset(**{"name": name} | change)
        with pytest.raises(ValueError, match=f"convert {own}: .*{words}"):
            convert(own, back, **arguments)
    assert back.read_bytes() == file.read_bytes()


@contextmanager
def weights_of(path: Path) -> Iterator[Path]:
    """The HDF5 file itself, or the one in an archive, which is written back."""
    if path.suffix != ".keras":
        yield path
        return
    inner, entry = path.with_name("inner.h5"), "model.weights.h5"
    inner.write_bytes(zipfile.ZipFile(path).read(entry))
    yield inner
    compress(path, **{entry: inner.read_bytes()})
