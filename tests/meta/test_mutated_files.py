"""Files that the package wrote, mutated at random: reading one succeeds or raises an own error."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydantic", reason="the extra cli is absent")

from bilinear.analysis import descriptors
from bilinear.analysis.reduction import open_reduction, write_reduction
from bilinear.analysis.shards import Collection, Index, write_index
from bilinear.train import Recipe, named_recipe
from bilinear.train.events import EpochDone, PhaseStarted, StepDone
from bilinear.train.feature_cache.files import FeatureMaps, MapSet, MapSpec, write_maps
from bilinear.train.run import Progress, Run

from ..selection import FULL

SEEDS, COUNT = (4, 1000) if FULL else (1, 30)
VALUES = [None, True, -1, 0, 2**53, 2**64, 10**400, 1e308, float("nan"), float("inf")]
VALUES += ["", "a", "\0", 300 * "ü", [], {}, [[]], {"a": 1}, "last:1"]
Files = tuple[list[Path], Callable[[], object]]
"""Files that were written, and the function that reads them."""


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Replace, insert or delete some bytes, or cut off the end."""
    start = rng.randrange(len(data))
    count = rng.choice([1, 2, 8, 64])
    kind = rng.choice(["replace", "insert", "delete", "cut"])
    new = b"" if kind in ("delete", "cut") else rng.randbytes(count)
    end = {"replace": start + count, "insert": start, "delete": start + count}.get(kind, len(data))
    return data[:start] + new + data[end:]


def change_json(rng: random.Random, text: bytes) -> bytes:
    """Replace, add or delete a value at any depth. Raises: ValueError for other text."""
    whole = json.loads(text)
    places = [*places_in(whole)]
    owner, key = rng.choice(places)
    match rng.choice(["replace", "replace", "add", "delete"]):
        case "delete":
            del owner[key]
        case "add" if isinstance(owner, dict):
            owner["added"] = rng.choice(VALUES)
        case _:
            owner[key] = rng.choice(VALUES)
    return json.dumps(whole).encode()


def places_in(value: Any) -> Any:
    """Yield (list or dictionary, index or key) of each value inside."""
    keys = (
        range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    )
    for key in keys:
        yield value, key
        yield from places_in(value[key])


def recipes(folder: Path) -> Files:
    path = folder / "recipe.json"
    path.write_text(named_recipe("multi-phase").to_json())
    return [path], lambda: Recipe.from_json(path.read_bytes().decode(errors="replace"))


def run_state(folder: Path) -> Files:
    recipe, run = named_recipe("bcnn-two-phase"), Run(folder)
    tensors = {"a.weight": np.ones((3, 4), np.float32), "a.bias": np.zeros(3)}
    with run.lock():
        run.create(recipe, {"python": "3"})
        run.log(PhaseStarted("classifier", 2))
        run.log(StepDone("classifier", 0, 1, 0.5, 0.25, [1.0]))
        run.log(EpochDone("classifier", 0, 1, 0.5, 0.25, 0.4, 0.3, 0.3, True))
        progress = Progress(recipe.checksum(), epoch=1, passes=1, history=[[0.4, 0.3, 0.3]])
        run.save(progress, tensors, {"a.bias": np.ones(3)})

    def read() -> None:
        run.differences({"python": "3"})
        run.read_metrics()
        run.load(tensors, Progress(recipe.checksum()), recipe)

    return [run.state, run.metrics, run.environment], read


def npy(folder: Path, suffix: str = ".npy") -> Files:
    path = folder / f"f{suffix}"
    about = {"model": "m", "sha256": "0" * 64, "classes": ("a", "b")}
    with descriptors.write_descriptors(path, 7, **about) as writer:
        names = [f"{k}.jpg" for k in range(5)]
        writer.append(np.ones((5, 7), np.float32), names, [0, 1, 0, 1, -1])

    def read() -> None:
        found, rows = descriptors.open_descriptors(path)
        descriptors.nearest(found, np.ones(found.shape[1], np.float32))
        assert all(isinstance(rows.classes[label], str) for label in rows.labels)

    return [*descriptors.files_of(path)], read


def safetensors(folder: Path) -> Files:
    return npy(folder, ".safetensors")


def shards(folder: Path) -> Files:
    index = Index(2, 4, 3, "0" * 64, "1" * 64, "2" * 64)
    write_index(folder, index)
    for shard in range(2):
        about = {"model": "m", "sha256": index.sha256, "reduction": index.reduction}
        with descriptors.write_descriptors(index.path(folder, shard), 3, **about) as writer:
            writer.append(np.ones((2, 3), np.float32), ["a.jpg", "b.jpg"], [-1, -1])

    def read() -> None:
        found = Collection(folder)
        descriptors.nearest(found, np.ones(3, np.float32))
        assert [found.image(k) for k in range(len(found))]

    return sorted(folder.iterdir()), read


def reductions(folder: Path) -> Files:
    path = folder / "r.safetensors"
    write_reduction(path, np.ones(3, np.float32), np.ones((2, 3), np.float32), sha256="0" * 64)
    return [path], lambda: open_reduction(path)(np.zeros((1, 3), np.float32))


def maps(folder: Path) -> Files:
    specs = MapSpec((2, 3, 4), "float32"), MapSpec((1, 1, 2), "bfloat16")
    written = MapSet(folder / "key", specs, 5, {"part": "train"})
    arrays = [np.zeros((5, *spec.shape)).astype(spec.dtype) for spec in specs]
    write_maps(written, lambda: [arrays], limit=2**20, waiting=lambda: None)
    return sorted(written.folder.iterdir()), lambda: FeatureMaps(written).rows(np.arange(5))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("write", [recipes, run_state, npy, safetensors, shards, reductions, maps])
def test_reading_a_mutated_file_succeeds_or_is_refused(
    write: Callable[[Path], Files], seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    paths, read = write(tmp_path)
    read()
    whole = {path: path.read_bytes() for path in paths}
    for _ in range(COUNT):
        path = rng.choice(paths)
        changes = [change_bytes, change_json] if path.suffix == ".json" else [change_bytes]
        path.write_bytes(rng.choice(changes)(rng, whole[path]))
        try:
            read()
        except ValueError as error:
            if type(error) is not ValueError:  # one of a decoder, without the name of the file
                raise
        for name, content in whole.items():
            name.write_bytes(content)
