"""Models on a hub: the real client in this process, against a server on loopback."""

import sys
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
import yaml

from bilinear.data.images import Preprocessing
from bilinear.models import checkpoint, plans
from bilinear.models.model_card import model_card
from bilinear.models.summary import summarize

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .hub_server import TOKEN, Repositories
from .test_checkpoint import describe, tiny
from .test_hub import running
from .test_models import images

# the client itself uploads with an argument that its transport deprecates
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

FIRST = PRESENT[:1]
NAMES = ("fern", "moss", "stone")
PREPROCESSING = Preprocessing(32, 40, mean=(0.5, 0.25, 0.125))


def connect(monkeypatch, url):
    """The client reads this setting on import, and may be imported already."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that the client in this process uses, with an empty cache."""
    settings = {
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Repositories)) as server:
        server.repositories, server.private, server.objects = {}, set(), {}
        connect(monkeypatch, server.url)
        yield server


def small(backend, **options):
    given = {"taps": ("layer1",), "pool": "AveragePool", "num_classes": 3} | options
    return driver(backend).model(backbone="resnet18", **given)


def push(backend, model, repository="user/birds", **options):
    given = {"classes": NAMES, "preprocessing": PREPROCESSING, "token": TOKEN} | options
    return driver(backend).namespace.push_to_hub(model, repository, **given)


@pytest.mark.parametrize("backend", FIRST)
def test_a_model_is_pushed_and_opened(backend, hub, monkeypatch, tmp_path):
    """The file is that of `save`; options, branches, the cache and the card are used."""
    library, x = driver(backend).namespace, images(2, (32, 32), "float32")
    model, other = small(backend), small(backend, seed=1)
    address = push(backend, model, accuracy=0.853, dataset="CUB", license="apache-2.0")
    assert address.startswith(f"{hub.url}/user/birds/commit/")
    path = tmp_path / "model.safetensors"
    library.save(model, path, classes=NAMES, preprocessing=PREPROCESSING)
    files = hub.repositories["user/birds"]["main"]
    assert files.keys() == {"model.safetensors", "README.md"}
    assert files["model.safetensors"] == path.read_bytes()
    opened = library.from_pretrained("user/birds", token=False)
    assert (opened.classes, opened.preprocessing) == (NAMES, PREPROCESSING)
    logits = driver(backend).logits(model, x)
    np.testing.assert_array_equal(driver(backend).logits(opened, x), logits)
    assert library.from_pretrained("user/birds", num_classes=50).num_classes == 50

    # a branch with another model, and a card that a user has edited
    files["README.md"] = b"edited"
    push(backend, other, revision="second")
    second = hub.repositories["user/birds"]["second"]
    assert (second["README.md"], second["model.safetensors"] == path.read_bytes()) == (
        b"edited",
        False,
    )
    push(backend, other, revision="second", replace_card=True, create_pr=True)
    assert b"# birds" in hub.repositories["user/birds"]["refs/pr/1"]["README.md"]
    opened = library.from_pretrained("user/birds", revision="second")
    assert not np.array_equal(driver(backend).logits(opened, x), logits)

    # the cache: each file is downloaded once, and opens without the hub
    downloads = [request for request in hub.requests if request.startswith("GET ")]
    assert len(downloads) == 2
    seen = len(hub.requests)
    library.from_pretrained("user/birds", local_files_only=True)
    assert len(hub.requests) == seen
    connect(monkeypatch, "http://127.0.0.1:9")  # where no server listens
    again = library.from_pretrained("user/birds")
    np.testing.assert_array_equal(driver(backend).logits(again, x), logits)
    with pytest.raises(OSError, match=r"got .*Check the network connection") as refused:
        library.from_pretrained("user/birds", cache_dir=tmp_path / "other")
    assert "\n" not in f"{refused.value}"


@pytest.mark.parametrize("backend", FIRST)
def test_what_the_hub_refuses_is_one_sentence(backend, hub, monkeypatch):
    """Repository, revision, file, token, license; and a private repository opens with a token."""
    library, model = driver(backend).namespace, small(backend)
    push(backend, model, "user/secret", private=True)
    assert hub.private == {"user/secret"}
    library.from_pretrained("user/secret", token=TOKEN)
    hub.repositories["user/empty"] = {"main": {}}
    hub.repositories["user/torn"] = {"main": {"model.safetensors": b"<html>no file</html>"}}
    cases = [
        (OSError, "must exist, and you .* `hf auth login` if it", "user/nothing", {}),
        (OSError, "must exist, and you", "user/secret", {"token": False, "force_download": True}),
        (OSError, "revision must be a branch", "user/secret", {"token": TOKEN, "revision": "x"}),
        (OSError, "must contain the file of a model", "user/empty", {}),
        (OSError, "must be in the cache", "user/torn", {"local_files_only": True}),
        (ValueError, "repo_id must be the name of a", "user/birds/model.safetensors", {}),
        (ValueError, "an HTML page", "user/torn", {}),
    ]
    for kind, text, repository, options in cases:
        with pytest.raises(kind, match=text) as refused:
            library.from_pretrained(repository, **options)
        assert "\n" not in f"{refused.value}"
    refusals = [
        (OSError, "a token must allow this; got .*Pass token=", {"token": False}),
        (OSError, "must accept the request; got .*license", {"license": "unknown"}),
        (ValueError, "accuracy must be a number from 0 to 1; got 85.3", {"accuracy": 85.3}),
        (ValueError, "dataset= must come with accuracy=", {"dataset": "CUB"}),
        (ValueError, "classes must be 3 different names", {"classes": ["one"]}),
    ]
    for kind, text, options in refusals:
        with pytest.raises(kind, match=text):
            push(backend, model, "user/new", **options)
    assert not hub.repositories.get("user/new", {}).get("main")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"needs huggingface_hub, .* pip install"):
        library.from_pretrained("user/secret")


@pytest.mark.full
@pytest.mark.parametrize("writer", PRESENT)
def test_every_framework_opens_what_another_pushed(writer, hub):
    x = images(2, (32, 32), "float32")
    model = small(writer, taps=("layer3", "layer4"), pool="HierarchicalBilinearPool")
    push(writer, model)
    logits = driver(writer).logits(model, x)
    for reader in PRESENT:
        opened = driver(reader).namespace.from_pretrained("user/birds")
        assert relative_error(driver(reader).logits(opened, x), logits) <= LOGITS["float32"]


def card(path, **options):
    """The metadata and the text of the card of a file."""
    _, metadata, text = model_card("user/birds", summarize(path), **options).split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_card_states_how_to_use_the_model(saved, path):
    metadata, text = card(saved, accuracy=0.853, dataset="user/cub", license="apache-2.0")
    results = metadata.pop("model-index")[0]["results"][0]
    assert (results["dataset"]["name"], results["metrics"][0]["value"]) == ("user/cub", 0.853)
    assert metadata.pop("tags")
    assert metadata == {
        "library_name": "bilinear",
        "pipeline_tag": "image-classification",
        "license": "apache-2.0",
        "metrics": ["accuracy"],
    }
    for part in (
        "from bilinear.torch import from_pretrained, load_image\n",
        'from_pretrained("user/birds", backbone=module)\n',
        "| pooling | `BilinearPool(eps=1e-10, l2_eps=1e-12, reduction='mean')` |",
        "a custom module of torch",
        "Resize the shorter side of the image to 80 pixels, and crop 64 × 64 pixels",
        "- mean: 0.485, 0.456, 0.406\n- standard deviation: 0.229, 0.224, 0.225\n",
        "```text\n0 brick\n1 grass\n2 gravé\n```",
        "85.3 % of the predictions on user/cub are correct.",
        "The license of this model is `apache-2.0`.",
    ):
        assert part in text, part
    assert "bilinear.jax" not in text
    stem = {"backbone": "resnet18", "taps": ("layer1",), "descriptor_size": 64**2}
    named = describe(classes=None, preprocessing=None, **stem)
    shapes = plans.bcnn_shapes(*named.resolved.pair, named.head, named.taps)
    checkpoint.write(path, named, {k: np.zeros(v, np.float32) for k, v in shapes.items()})
    metadata, text = card(path)
    assert metadata.keys() == {"library_name", "pipeline_tag", "tags"}
    assert all(
        f"from bilinear.{name} import from_pretrained\n" in text
        for name in ("torch", "tensorflow", "jax")
    )
    assert "| backbone | `resnet18` |" in text
    assert "not record" in text.partition("## Preprocessing")[2].partition("## Classes")[0]
    assert "Accuracy" not in text
    assert "License" not in text
    checkpoint.write(path, describe(classes=("a\n```", "# b", "<c>")), tiny())
    assert "```text\n0 a\\n```\n1 # b\n2 <c>\n```" in card(path)[1]
