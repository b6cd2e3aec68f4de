"""``torchrun -m bilinear train``: as printed in docs/scaling.md, with small images."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="POSIX only")
pytest.importorskip("tensorboard", reason="the extra cli is absent")

from ..datasets import color_images
from ..subjects import PRESENT
from ..together import RECIPES
from ..train.test_processes import assert_near
from .test_cli_survival import steps

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif("torch" not in PRESENT, reason="torchrun is a command of PyTorch"),
]
TORCHRUN = "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(RECIPES["options"].to_json())
    data = color_images(tmp_path / "pictures")
    options = ["--framework", "torch", "--device", "cpu", "--workers", "1", "--save-every", "1"]
    return ["bilinear", "train", str(recipe), str(data), "--fraction", "0.34", "--resume", *options]


def start(*words: object) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-W", "ignore", "-m", *map(str, words)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)


def messages(err: str) -> list[str]:
    lines = [line for line in err.splitlines() if line.startswith("bilinear: ")]
    print(err)  # shown if the test fails
    return [line for line in lines if "classes have fewer" not in line and "split has" not in line]


def test_two_processes_train_the_model_of_one(words: list[str], tmp_path: Path) -> None:
    out, err = start(*words, tmp_path / "one").communicate(timeout=300)
    assert out == f"{tmp_path / 'one' / 'best.safetensors'}\n", err
    out, err = start(*TORCHRUN, *words, tmp_path / "two").communicate(timeout=300)
    assert out == f"{tmp_path / 'two' / 'best.safetensors'}\n", err
    assert err.count("test in torch, images: 12 training, 6 validation") == 1
    assert_near(tmp_path / "one", tmp_path / "two")


def test_an_unreadable_image_ends_both_with_one_message(words: list[str], tmp_path: Path) -> None:
    picture, run = tmp_path / "pictures" / "red" / "3.jpg", tmp_path / "run"
    content = picture.read_bytes()
    picture.write_bytes(b"no image")
    one = start(*TORCHRUN, *words, run)
    out, err = one.communicate(timeout=300)
    assert one.returncode
    assert out == ""
    (message,) = messages(err)
    assert f"{picture}" in message
    picture.write_bytes(content)
    out, err = start(*TORCHRUN, *words, run).communicate(timeout=300)
    assert out == f"{run / 'best.safetensors'}\n", err


@pytest.mark.parametrize("number", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_torchrun_saves_the_state(
    number: str, words: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    module, *rest = TORCHRUN
    one = start(module, f"--signals-to-handle={number}", *rest, *words, run)
    while not steps(run) and one.poll() is None:
        time.sleep(0.01)
    sent = time.monotonic()
    one.send_signal(signal.Signals[number])
    out, err = one.communicate(timeout=300)
    assert time.monotonic() - sent < 25, "torchrun kills after 30 seconds"
    assert one.returncode
    assert out == ""
    assert messages(err) == ["bilinear: terminated"]
    assert f"{run} can be resumed at step {steps(run)}" in err
    out, err = start(*TORCHRUN, *words, run).communicate(timeout=300)
    assert out == f"{run / 'best.safetensors'}\n", err
