"""Files of every pool, written before version 0.1, open with the predictions of that time."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from bilinear.models.description import Description
from bilinear.models.pools import POOLS

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS

FOLDER = Path(__file__).parent / "files_before_0_1"
FILES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


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
