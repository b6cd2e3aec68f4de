"""``bilinear train --framework jax`` in two processes, as docs/scaling.md describes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="POSIX only")
pytest.importorskip("tensorboard", reason="the extra cli is absent")

from ..datasets import color_images
from ..subjects import PRESENT
from ..together import RECIPES

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed"),
]


def run_two(*words: object) -> tuple[list[int], list[str], list[str]]:
    """Exit codes, stdout and stderr of two processes, each with two devices."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    common = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PLATFORMS": "cpu"}
    common |= {"JAX_NUM_CPU_DEVICES": "2"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-W", "ignore", "-m", "bilinear", *map(str, words)]
    environments = [os.environ | common | {"JAX_PROCESS_ID": f"{rank}"} for rank in range(2)]
    processes = [subprocess.Popen(command, env=env, **pipes) for env in environments]
    out, err = zip(*(process.communicate(timeout=300) for process in processes), strict=True)
    print(*err)  # shown if the test fails
    return [process.returncode for process in processes], [*out], [*err]


def test_one_process_prints_and_an_error_ends_both(tmp_path: Path) -> None:
    recipe, run = tmp_path / "recipe.json", tmp_path / "run"
    recipe.write_text(RECIPES["plain"].to_json())
    data = color_images(tmp_path / "pictures")
    options = (
        "--framework",
        "jax",
        "--devices",
        2,
        "--workers",
        1,
        "--save-every",
        1,
        "--fraction",
        0.34,
    )
    words = "train", recipe, data, run, "--resume", *options
    picture = data / "red" / "3.jpg"
    content = picture.read_bytes()
    picture.write_bytes(b"no image")
    codes, out, err = run_two(*words)
    assert codes == [2, 2]
    assert out == ["", ""]
    (message,) = [line for text in err for line in text.splitlines() if "3.jpg" in line]
    assert message.startswith("bilinear: ")
    picture.write_bytes(content)
    codes, out, err = run_two(*words)
    assert codes == [0, 0]
    assert out == [f"{run / 'best.safetensors'}\n", ""]
    assert "".join(err).count("test in jax, images: 12 training, 6 validation") == 1
