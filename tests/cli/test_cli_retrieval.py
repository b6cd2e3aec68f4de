"""Descriptors in shards, reduced, and searched through an index: results and refusals."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.analysis.descriptors import open_descriptors
from bilinear.analysis.reduction import open_reduction, write_reduction
from bilinear.analysis.shards import Collection
from bilinear.cli import _model
from bilinear.cli._shard import parse_shard
from bilinear.data.images import Preprocessing
from bilinear.models import checkpoint
from bilinear.models.checkpoint import read_description

from .. import datasets
from ..models.test_checkpoint import describe, tiny
from ..subjects import PRESENT, driver


class Means:
    """In place of a model: the means of the channels, and of the upper half of the image."""

    device = "cpu"

    def __init__(self, *_: object) -> None:
        pass

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        upper = images[:, : images.shape[1] // 2].mean((1, 2, 3))
        return np.concatenate([images.mean((1, 2)), upper[:, None]], 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two model files, and eight images of two classes."""
    root, description = (
        tmp_path_factory.mktemp("retrieval"),
        describe(preprocessing=Preprocessing(16)),
    )
    for name, dtype in {"m": "float32", "other": "float64"}.items():
        changed = dataclasses.replace(description, dtype=dtype)
        checkpoint.write(root / f"{name}.safetensors", changed, tiny(dtype))
    datasets.photographs(root / "data", finch=5, wren=3)
    return root


@pytest.fixture
def call(folder: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable:
    """`command` of a line, in the folder, without a framework."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_model, "Inference", Means)
    monkeypatch.setattr(_model, "load", lambda file, *_: read_description(file))
    monkeypatch.setattr(_model, "select_framework", lambda name: "numpy")
    monkeypatch.setattr(_model, "name_and_version", lambda name: name)
    return lambda line, **options: command(*line.split(), **options)


def test_shards_hold_the_rows_of_one_file(call: Callable[..., str], folder: Path) -> None:
    """Written in any order; with fewer images in a batch, which does not matter."""
    call("descriptors m.safetensors data whole.npy")
    for shard in ("2/3", "0/3"):
        call(f"descriptors m.safetensors data shards --shard {shard}")
    line = "retrieve shards m.safetensors data/wren/1.jpg -k 3 --json"
    assert "shards must have all of its 3 shards; got 1/3 missing" in call(line, code=2)
    call("descriptors m.safetensors data shards --shard 1/3 --batch-size 2")
    found, (rows, about) = Collection(folder / "shards"), open_descriptors("whole.npy")
    np.testing.assert_allclose(found[:], rows, atol=1e-5)
    assert [found.image(k)[0] for k in range(8)] == about.paths
    assert call(line) == call(line.replace("shards", "whole.npy"))
    assert json.loads(call(line).splitlines()[0])["class"] == "wren"
    for words, refusal in (
        (
            "descriptors m.safetensors data shards --mirror --shard 0/3",
            "shards must be new, or have shards",
        ),
        ("descriptors m.safetensors data many --shard 0/9", "8 images for 9 shards"),
        (
            "descriptors m.safetensors data x --shard 3/3",
            "must be I/N with 0 ≤ I < N, or auto; got",
        ),
        (
            "descriptors m.safetensors data x --shard 0/2 --reduce 2",
            "fitted before; got --reduce 2",
        ),
        ("descriptors m.safetensors data m.safetensors --shard 0/2", "File exists"),
        ("retrieve shards other.safetensors data/wren/1.jpg", "descriptors of m.safetensors"),
        ("classifier shards m.safetensors -o x.safetensors", "must be one file of descriptors"),
    ):
        assert refusal in call(words, code=2)
    assert not Path("many/index.json").exists()


def test_queries_are_reduced_as_the_descriptors(call: Callable[..., str], folder: Path) -> None:
    """By the same file for all shards and for a file, or by one that is fitted to its images."""
    pytest.importorskip("sklearn", reason="the extra retrieval is absent")
    call("descriptors m.safetensors data plain.npy")
    call("reduction m.safetensors data r.safetensors --size 3")
    for words in ("f.npy --reduce r.safetensors", "g.npy --reduce 3"):
        call(f"descriptors m.safetensors data {words}")
    for shard in range(2):
        call(f"descriptors m.safetensors data set --reduce r.safetensors --shard {shard}/2")
    assert Path("r.safetensors").read_bytes() == Path("set/reduction.safetensors").read_bytes()
    expected = open_reduction("r.safetensors")(open_descriptors("plain.npy")[0])
    outputs = set()
    for source in ("f.npy", "g.npy", "set"):
        found = Collection(source)
        assert found.dtype == np.float16
        # a value is rounded to 11 bits
        np.testing.assert_allclose(found[:].astype(np.float32), expected, rtol=2**-10, atol=1e-4)
        outputs.add(call(f"retrieve {source} m.safetensors data/wren/1.jpg -k 4"))
    (printed,) = outputs
    assert printed.startswith("1.0000  data/wren/1.jpg  wren\n")
    reduction = open_reduction("r.safetensors")
    write_reduction("swapped", -reduction.mean, reduction.weight, sha256=reduction.sha256)
    os.replace("swapped", "g.npy.reduction.safetensors")
    for words, refusal in (
        ("retrieve g.npy m.safetensors data/wren/1.jpg", "must be the reduction of g.npy"),
        ("classifier f.npy m.safetensors -o x.safetensors", "the descriptors of the model itself"),
        (
            "descriptors other.safetensors data x.npy --reduce r.safetensors",
            "fitted to descriptors",
        ),
        ("descriptors m.safetensors data x.npy --reduce m.safetensors", "written by bilinear red"),
        ("descriptors m.safetensors data r.safetensors --reduce r.safetensors", "replace an input"),
        ("descriptors m.safetensors data x.npy --reduce 8", "vary in at least 8 directions"),
        ("reduction m.safetensors data m.safetensors --size 3", "must not replace an input"),
    ):
        assert refusal in call(words, code=2)
    pytest.importorskip("faiss", reason="the extra retrieval is absent")
    for source, kind in (("f.npy", "hnsw"), ("set", "ivf")):
        line = f"retrieve {source} m.safetensors data/wren/1.jpg -k 4 --index {kind}"
        assert call(line) == printed
        assert (folder / f"{source}.{kind}").is_dir()


@pytest.mark.full
@pytest.mark.skipif("torch" not in PRESENT, reason="torchrun is of PyTorch")
def test_torchrun_numbers_the_shards(folder: Path) -> None:
    made = driver("torch")
    model = made.model("resnet18", 2, taps=("layer1",), projection=4)
    made.save(model, folder / "torch.safetensors", preprocessing=Preprocessing(16))
    words = "torch.distributed.run --standalone --nproc-per-node 2 -m bilinear descriptors"
    words += " torch.safetensors data started --shard auto --framework torch"
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-m", *words.split()]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    assert len(Collection(folder / "started")) == 8


@pytest.mark.parametrize(
    ("variables", "shard", "devices"),
    [
        ({"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}, (5, 16), "1"),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_LOCALID": "2"}, (2, 3), "2"),
        (
            {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}
            | {"CUDA_VISIBLE_DEVICES": "4,6"},
            (5, 8),
            "6",
        ),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": ""},
            (1, 2),
            "",
        ),
    ],
)
def test_a_launcher_numbers_the_shards_and_gpus(
    variables: dict[str, str], shard: tuple[int, int], devices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "SLURM_PROCID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match="auto without the variables of torchrun or srun"):
        parse_shard("auto")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert parse_shard("auto") == shard
    assert os.environ["CUDA_VISIBLE_DEVICES"] == devices
    for text in ("1", "-1/2", "2/2", "0/0", "a/b", "1/2/3", ""):
        with pytest.raises(ValueError, match="must be I/N with 0 ≤ I < N"):
            parse_shard(text)
