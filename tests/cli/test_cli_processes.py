"""Commands in processes of their own: signals, pipes, closed and full streams."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.data.image_reader import MAX_PIXELS
from bilinear.models.checkpoint import write

from .. import datasets
from ..models.test_checkpoint import describe, tiny
from ..subjects import needs_a_framework
from .test_cli_streams import save_model


def process(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "bilinear", *map(str, arguments)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": path}, **pipes)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # error at exit, and before
def test_a_broken_pipe_exits_silently(
    unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m.safetensors", describe(), tiny())
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    one = process("info", tmp_path / "m.safetensors")
    assert one.stdout is not None
    assert one.stderr is not None
    one.stdout.close()
    with one.stderr:
        assert one.stderr.read() == ""
    assert one.wait(60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_closed_and_full_streams(tmp_path: Path) -> None:
    """Lost results are an error. Lost messages are not."""
    write(tmp_path / "m.safetensors", describe(), tiny())
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    results = []
    for file, redirected in (
        ("m", "2>&-"),
        ("none", "2>/dev/full"),
        ("m", ">&-"),
        ("m", ">/dev/full"),
    ):
        script = f'exec "$0" -m bilinear info {file}.safetensors {redirected}'
        one = subprocess.run(
            ["sh", "-c", script, sys.executable],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        results.append((one.stdout, one.stderr, one.returncode))
    shown, unknown, closed, full = results
    assert "descriptor size" in shown[0]
    assert shown[1:] == ("", 0)
    assert unknown == ("", "", 2)
    remedy = "Check the path and the disk.\n"
    assert closed == ("", f"bilinear: stdout: Bad file descriptor. {remedy}", 2)
    assert full == ("", f"bilinear: stdout: No space left on device. {remedy}", 2)


@needs_a_framework
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "code", "words"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_signal_has_its_exit_code_and_keeps_the_output(
    number: str, code: int, words: str, tmp_path: Path
) -> None:
    model, image = save_model(tmp_path / "m.safetensors"), str(tmp_path / "0.jpg")
    datasets.jpeg(Path(image))
    many = process("predict", model, *[image] * 20_000, "--batch-size", 4, "--json")
    assert many.stdout is not None
    assert many.stderr is not None
    watchdog = threading.Timer(60, many.kill)
    watchdog.start()
    with many.stdout, many.stderr:  # communicate would lose data buffered by readline
        first = json.loads(many.stdout.readline())
        assert first["image"] == image
        many.send_signal(signal.Signals[number])
        lines = many.stdout.read().splitlines()
        err = many.stderr.read()
    assert many.wait() == code
    watchdog.cancel()
    assert err.splitlines()[-1] == f"bilinear: {words}"
    assert "Traceback" not in err
    assert len(lines) < 20_000
    for line in lines:
        json.loads(line)


@needs_a_framework
@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_file_names_that_are_not_text_are_printed(tmp_path: Path, command) -> None:
    model = save_model(tmp_path / "m.safetensors")
    name = tmp_path / "images" / "ü\udcff.jpg"
    datasets.jpeg(name)
    out = command("predict", model, name.parent, "--json")
    assert out.isascii()
    assert json.loads(out)["image"] == str(name)
    one = process("info", tmp_path / "\udcfe.safetensors")
    assert "\\udcfe.safetensors: No such file" in one.communicate(timeout=60)[1]
    assert one.returncode == 2


def peak_memory(*arguments: object) -> int:
    """Run a command, and return the largest resident set of its process in bytes."""
    one, peak = process(*arguments), 0
    while one.poll() is None:
        with suppress(OSError):  # it has just ended
            found = re.search(rb"VmHWM:\s*(\d+)", Path(f"/proc/{one.pid}/status").read_bytes())
            peak = int(found[1]) if found else peak
        time.sleep(0.02)
    assert one.returncode == 0, one.communicate()[1]
    one.communicate()
    return 1024 * peak


@needs_a_framework
@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_images_that_expand_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    """Eight PNG files of 2.7 MB together, with 2.7 GiB of pixels.

    Beside the image, the C library keeps freed memory for each of the four threads.
    """
    model, small, large = save_model(tmp_path / "m.safetensors"), tmp_path / "s", tmp_path / "l"
    side = int(MAX_PIXELS**0.5)
    datasets.jpeg(small / "0.jpg")
    large.mkdir()
    Image.new("RGBA", (side, side)).save(large / "0.png")
    for k in range(1, 8):
        shutil.copy(large / "0.png", large / f"{k}.png")
    assert sum(path.stat().st_size for path in large.iterdir()) < 3e6
    more = peak_memory("predict", model, large) - peak_memory("predict", model, small)
    assert more < 8 * MAX_PIXELS + 4 * 2**26
