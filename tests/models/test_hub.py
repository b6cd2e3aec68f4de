"""Pretrained backbones from a hub: the real client, against a server on loopback."""

import functools
import hashlib
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from safetensors.numpy import save_file

from bilinear.models import plans, weights
from bilinear.models.weights import PINS

from .test_weights import numbered, rest

UNPINNED = {"vgg16_bn", "vgg19", "vgg19_bn", "resnet101"}
"""Their commit and hash could not be looked up; docs/backbones.md says so."""


def test_pins_name_a_commit_and_a_hash():
    assert PINS.keys() == plans.BACKBONES.keys()
    for backbone, pin in PINS.items():
        assert pin.repository == f"timm/{backbone}.tv_in1k"
        if backbone in UNPINNED:
            assert pin == weights.Pin(pin.repository)
            continue
        if backbone != "inception_v3":  # the newest one, with this hash
            assert re.fullmatch("[0-9a-f]{40}", str(pin.revision))
        assert re.fullmatch("[0-9a-f]{64}", str(pin.sha256))
    assert PINS["resnet18"].size == 46_807_446


class Hub(SimpleHTTPRequestHandler):
    """A hub with one file."""

    def end_headers(self):
        self.send_header("ETag", f'"{self.server.sha256}"')
        self.send_header("X-Repo-Commit", PINS["resnet18"].revision)
        super().end_headers()

    def log_message(self, *_):
        self.server.requests.append(f"{self.command} {self.path}")


SERVED = f"{PINS['resnet18'].repository}/resolve/{PINS['resnet18'].revision}/model.safetensors"


@contextmanager
def running(server):
    """Serve requests in a thread; the server has its ``url`` and a list of ``requests``."""
    with server:
        server.requests, server.url = [], f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub(tmp_path):
    file = tmp_path / "served" / SERVED
    file.parent.mkdir(parents=True)
    save_file(numbered("resnet18") | rest("resnet18", "timm"), file)
    handler = functools.partial(Hub, directory=tmp_path / "served")
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        server.file = file
        server.sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        yield server


FETCH = """
import sys
from bilinear.models import weights
assert "huggingface_hub" not in sys.modules
if sys.argv[1:]:
    weights.PINS["resnet18"] = weights.PINS["resnet18"]._replace(sha256=sys.argv[1])
try:
    tensors = weights.backbone_tensors("resnet18", "imagenet")
except (OSError, ValueError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(len(tensors), tensors["bn1.bias"][0], tensors["layer4.1.bn2.running_var"][-1])
"""


def fetch(url, home, *arguments, before="", **environment):
    """Run the real client in a separate process, since it reads its settings on import."""
    kept = {k: v for k, v in os.environ.items() if not re.match("(?i)HF_|.*proxy", k)}
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", before + FETCH, *arguments],
        env=kept | settings | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_hub_file_is_downloaded_once(hub, tmp_path):
    terminal = "import sys\nsys.stderr.isatty = lambda: True\n"  # where there is a bar
    first = fetch(hub.url, tmp_path, hub.sha256, before=terminal)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == ["100", "2.0", "99.0"]
    assert "model.safetensors" in first.stderr  # the progress bar
    assert f"GET /{SERVED}" in hub.requests
    seen = len(hub.requests)
    hub.server_close()
    again = fetch(hub.url, tmp_path, hub.sha256)
    assert again.stdout == first.stdout, again.stderr
    assert len(hub.requests) == seen


def test_a_file_of_another_hash_is_refused_until_it_is_deleted(hub, tmp_path):
    result = fetch(hub.url, tmp_path)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ValueError: BCNN: ")
    assert f"must have the sha256 {PINS['resnet18'].sha256}; got {hub.sha256}." in message
    stored = re.search("Delete (.*) and download it again", message)[1]
    os.unlink(stored)
    again = fetch(hub.url, tmp_path, hub.sha256)
    assert again.returncode == 0, again.stderr
    assert sum(request.startswith("GET") for request in hub.requests) == 2


def test_offline_error_says_what_to_download_by_hand(tmp_path):
    result = fetch("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 1
    message = result.stderr[result.stderr.index("OSError: BCNN: ") :]
    pin = PINS["resnet18"]
    size = "46,807,446 bytes"
    assert f"Download model.safetensors ({size}) of the repository {pin.repository}" in message
    assert f"at revision {pin.revision} by hand and pass its path as weights=, in a " in message


def test_missing_repository_raises_the_same_error(hub, tmp_path):
    hub.file.unlink()
    result = fetch(hub.url, tmp_path)
    assert "by hand and pass its path as weights=, in a recipe as model.weights." in result.stderr
    assert "404" in result.stderr
