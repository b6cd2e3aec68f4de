"""Files of every pool, written before version 0.1, open with the predictions of that time."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from bilinear.models.conversion import convert
from bilinear.models.description import Description
from bilinear.models.pools import POOLS

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS

FOLDER = Path(__file__).parent / "files_before_0_1"
FILES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
ARCHIVES = sorted(path.stem for path in FOLDER.glob("*.keras"))


def metadata(name: str) -> dict:
    with safe_open(FOLDER / f"{name}.safetensors", "np") as file:
        return json.loads(file.metadata()["bilinear"])


def test_every_pool_has_a_file() -> None:
    assert {metadata(name)["pooling"]["name"] for name in FILES} == set(POOLS)


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize("name", FILES)
def test_old_file_gives_its_logits(name: str, backend: str, tmp_path: Path) -> None:
    """The model, and the file it is saved to now, give the logits that the old code gave."""
    arrays = np.load(FOLDER / "logits.npz")
    images = np.moveaxis(arrays["images"], 1, -1)
    path = FOLDER / f"{name}.safetensors"
    for _ in range(2):
        model = driver(backend).load(path)
        assert model.classes == tuple("abcde")
        logits = driver(backend).logits(model, images)
        assert relative_error(logits, arrays[name]) <= LOGITS["float32"]
        path = tmp_path / "again.safetensors"
        driver(backend).save(model, path)


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="of Keras' files")
@pytest.mark.parametrize("name", ARCHIVES)
def test_old_archive_is_converted(name: str, tmp_path: Path) -> None:
    """Random tables were stored as integers."""
    arrays = np.load(FOLDER / "logits.npz")
    convert(FOLDER / f"{name}.keras", tmp_path / "a.safetensors")
    model = driver("tensorflow").load(tmp_path / "a.safetensors")
    logits = driver("tensorflow").logits(model, np.moveaxis(arrays["images"], 1, -1))
    assert relative_error(logits, arrays[name]) <= LOGITS["float32"]


@pytest.mark.skipif("jax" not in PRESENT, reason="of Orbax")
@pytest.mark.parametrize("name", ["compact_sketch", "compact_maclaurin"])
def test_old_orbax_folder_is_converted(name: str, tmp_path: Path) -> None:
    """Its random tables are integers, of which one outside the range is refused."""
    nnx, ocp = (importlib.import_module(name) for name in ("flax.nnx", "orbax.checkpoint"))
    file, own, back = FOLDER / f"{name}.safetensors", tmp_path / "own", tmp_path / "b.safetensors"
    model = driver("jax").load(file)
    driver("jax").save(model, tmp_path / "a.safetensors")
    state = nnx.to_pure_dict(nnx.state(model))
    for key, table in model.random_tables().items():
        state["pool"][key.removeprefix("pool.")] = table
    for folder in own, tmp_path / "wrong":
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder, state)
        next(iter(state["pool"].values()))[0] = 77
    convert(own, back, like=file, source_form="orbax")
    assert back.read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"tensor 'pool\.(h1|w1)' must hold .*; got 77 at"):
        convert(tmp_path / "wrong", tmp_path / "c.safetensors", like=file, source_form="orbax")


def test_new_names_need_version_3() -> None:
    """A file of version 2 with names of version 3 is refused, and the converse."""
    written = metadata("low_rank")
    current = json.loads(Description.from_json(json.dumps(written)).to_json())
    assert written["format_version"] == 2
    assert current["format_version"] == 3
    assert (current["pooling"]["dim"], current["pooling"]["rank"]) == (6, 3)
    with pytest.raises(ValueError, match="version 2 must not need a newer one; got what needs ver"):
        Description.from_json(json.dumps(current | {"format_version": 2}))
    with pytest.raises(ValueError, match="LowRankBilinearPool has the arguments"):
        Description.from_json(json.dumps(written | {"format_version": 3}))
    inner = metadata("democratic")
    assert json.loads(Description.from_json(json.dumps(inner)).to_json())["format_version"] == 3
    assert json.loads(Description.from_json(json.dumps(metadata("covariance"))).to_json()) == (
        metadata("covariance")
    )


@pytest.mark.parametrize("pooling", [{"half": True}, {"root": "shifted"}])
def test_version_1_has_no_names_of_version_2(pooling: dict) -> None:
    written = metadata("bilinear")
    written = written | {"format_version": 1, "taps": None, "projection": None}
    written = written | {"pooling": written["pooling"] | pooling, "descriptor_size": 512**2}
    del written["taps"], written["projection"]
    if "half" in pooling:
        written["descriptor_size"] = 512 * 513 // 2
    with pytest.raises(ValueError, match="version 1 must not need a newer one"):
        Description.from_json(json.dumps(written))
