"""Checkpoints of published B-CNN code give that code's logits in every framework."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from bilinear.data.images import Preprocessing
from bilinear.models import plans
from bilinear.models.imports import read_import
from bilinear.models.layouts import LAYOUTS, Backbones, Layout, backbone_names

from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .test_state_dict import TOOLS

CLASSES = 3
PEERS = {  # layout, stand-in, its arguments, the size of its maps, what it is imported into
    "umass": ("umass", "Umass", {}, 1e-2, ("vgg16", None)),
    "umass twice": ("umass", "Umass", {"streams": 2}, 1e-2, ("vgg16", "vgg16")),
    "umass-improved": ("umass-improved", "UmassImproved", {}, 1e-2, ("vgg16", None)),
    "umass-democratic": ("umass-democratic", "UmassDemocratic", {}, 1e-2, ("vgg16", None)),
    "haomood": ("haomood", "Haomood", {}, 1e-2, ("vgg16", None)),
    "fast-mpn": ("fast-mpn-bcnn", "FastMpn", {"backbone": "resnet18"}, 1e-4, ("resnet18", None)),
}
IN_EVERY_FRAMEWORK = ("umass", "fast-mpn")


@pytest.fixture(scope="module", params=PEERS)
def peer(request, tmp_path_factory):
    """Its name, files (as that code saves them, and the tensors alone), images and logits."""
    torch = pytest.importorskip("torch")
    peers = importlib.import_module("tests.peers")
    safetensors = importlib.import_module("safetensors.torch")
    _, kind, options, scale, _ = PEERS[request.param]
    module = peers.randomize(getattr(peers, kind)(CLASSES, **options), 4, scale)
    folder = tmp_path_factory.mktemp("peer")
    saved = module.checkpoint()
    torch.save(saved, folder / "model_best.pth.tar")
    tensors = {k: v for k, v in saved.get("state_dict", saved).items() if v.ndim}
    safetensors.save_file(tensors, folder / "model.safetensors")
    images = np.random.default_rng(9).standard_normal((2, 32, 48, 3)).astype(np.float32)
    with torch.no_grad():
        logits = module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    yield request.param, folder, images, logits
    for file in folder.iterdir():
        file.unlink()  # up to 120 MB each


@pytest.mark.parametrize("backend", PRESENT)
def test_imported_model_gives_the_logits_of_the_original_code(backend: str, peer) -> None:
    """At a size and with a number of classes that none of that code was written for."""
    name, folder, images, expected = peer
    if name not in IN_EVERY_FRAMEWORK and backend != PRESENT[0]:
        pytest.skip("its names are read by the same lines in every framework")
    layout, *_, backbones = PEERS[name]
    file = "model_best.pth.tar" if backend == "torch" else "model.safetensors"
    namespace = importlib.import_module(f"bilinear.{backend}")
    model = namespace.import_checkpoint(folder / file, layout, num_classes=CLASSES)
    logits = driver(backend).logits(model, images)
    assert relative_error(logits, expected) <= LOGITS["float32"], name
    assert (*model.streams.names, None)[:2] == backbones
    assert model.preprocessing == Preprocessing()
    assert model.classes is None


def state(layout: str, backbone: Backbones = "vgg16", **changes) -> dict:
    """Zeros under the names of a layout, changed: {name: array, or None to leave it out}."""
    shapes = LAYOUTS[layout].shapes(backbone, plans.Head(CLASSES, 512**2))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors |= changes
    return {name: array for name, array in tensors.items() if array is not None}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of other code, whose content `read` gives."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("a.pth", "folder/a.pth"):
        Path(name).write_bytes(b"")


def read(saved, layout, path="a.pth", **options):
    return read_import(path, layout, **{"read_pth": lambda _: saved} | options)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_gives_the_same_tensors(tool: str) -> None:
    """As saved from one device or several, alone or with the rest of a training's state."""
    weight = np.arange(64, dtype=np.float32)
    tensors = state("fast-mpn-bcnn", "resnet18", **{"features.1.weight": weight})
    tensors["features.1.num_batches_tracked"] = np.array(7)
    found = read(TOOLS[tool](tensors), "fast-mpn-bcnn")
    assert list(found.tensors) == canonical("resnet18")
    np.testing.assert_array_equal(found.tensors["backbone.bn1.weight"], weight)
    assert found.arguments["num_classes"] == CLASSES


def test_custom_layout() -> None:
    """Two networks under torchvision's names, features flattened column by column."""
    pair = ("vgg16", "resnet18")
    layout = Layout(
        ("a.", "b."), "head.", "haomood", backbones=(pair,), numbered=False, order="column-major"
    )
    weight = np.zeros((2, 512**2), np.float16)
    weight[1, 5 * 512 + 3] = 1
    tensors = {
        f"{prefix}{name}": np.zeros(shape, np.float16)
        for prefix, backbone in zip(("a.", "b."), pair, strict=True)
        for name, shape in plans.tensor_shapes(backbone).items()
    }
    bias = np.zeros(2, np.float16)
    found = read(tensors | {"head.weight": weight, "head.bias": bias}, layout)
    assert list(found.tensors) == canonical(*pair)
    assert found.arguments["dtype"] == "float16"
    assert np.argwhere(found.tensors["classifier.weight"]).tolist() == [[1, 3 * 512 + 5]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_a_layout_are_different_and_complete(layout: str) -> None:
    for backbone in LAYOUTS[layout].backbones:
        names = LAYOUTS[layout].names(backbone)
        assert list(names.values()) == canonical(*backbone_names(backbone))
        assert not names.keys() & LAYOUTS[layout].constants.keys()
        assert LAYOUTS[layout].fits(state(layout, backbone), backbone)


def canonical(*streams: str) -> list[str]:
    pairs = zip(("backbone.", "backbone_b."), streams, strict=False)
    names = [f"{prefix}{name}" for prefix, s in pairs for name in plans.tensor_shapes(s)]
    return [*names, "classifier.weight", "classifier.bias"]


REFUSED = [  # the layout of the file, its changes, how it is read, and the error
    (
        ("haomood", {}, {"layout": "umass"}),
        "'features.0.weight' is not a tensor of layout='umass', backbone='vgg16'; got it and 27 "
        "others. The file fits layout='haomood', backbone='vgg16'.",
    ),
    (("umass", {}, {"layout": "umass-improved"}), "tensor 'm_sqrt.I' must be there"),
    (
        ("fast-mpn-bcnn", {"backbone": "resnet18"}, {"backbone": "vgg16"}),
        "The file fits layout='fast-mpn-bcnn', backbone='resnet18'.",
    ),
    (
        ("umass", {"backbone": ("vgg16", "vgg16")}, {"layout": "fast-mpn-bcnn"}),
        "The file fits layout='umass', backbone=('vgg16', 'vgg16').",
    ),
    (
        ("haomood", {"features.0.scale": np.zeros(3)}, {}),
        "'features.0.scale' is not a tensor of layout='haomood', backbone='vgg16'; got it and 28 "
        "others. Load other networks into a custom module",
    ),
    (
        ("haomood", {}, {"layout": "fast-mpn-bcnn", "backbone": "resnet50"}),
        "its backbone must be 'vgg16' or 'resnet18'; got 'resnet50'. Load other networks",
    ),
    (
        ("haomood", {}, {"layout": "matconvnet"}),
        "layout must be one of umass, umass-improved, umass-democratic, haomood, hawkeye, "
        "fast-mpn-bcnn, or a Layout; got 'matc",
    ),
    (
        ("hawkeye", {}, {}),
        "the layout 'hawkeye' cannot be a BCNN: it pools behind pool5, at half the resolution",
    ),
    (
        ("haomood", {"features.28.bias": None}, {}),
        "tensor 'features.28.bias' must be there; got only 27 others, such as 'features.0.weight', "
        "'features.0.bias', 'features.2.weight'. The file is not a B-CNN",
    ),
    (("haomood", {"fc.weight": None}, {"num_classes": 4}), "tensor 'fc.weight' must be there"),
    (
        ("umass-improved", {"m_sqrt.I": np.eye(4)}, {}),
        "tensor 'm_sqrt.I' must be float32 (512, 512); got float64 (4, 4).",
    ),
    (
        ("haomood", {"fc.weight": np.zeros((3, 2), int)}, {}),
        "tensors must be of one type of float16, bfloat16, float32, float64; got int64.",
    ),
    (
        ("haomood", {}, {"num_classes": 200}),
        "it has 3 classes; got num_classes=200. Leave num_classes out.",
    ),
    (("haomood", {"epoch": 3}, {}), "'epoch' must be one tensor; got int."),
    (
        ("haomood", {"module.fc.bias": np.zeros(3)}, {}),
        "'fc.bias' must be one tensor; got 'fc.bias' and 'module.fc.bias'.",
    ),
]
WRONG = [  # a tensor of haomood's file, and what it must be
    ("fc.weight", np.zeros((3, 9), "f"), "float32 (3, 262144); got float32 (3, 9)."),
    ("fc.weight", np.zeros((), "f"), "float32 (1, 262144); got float32 ()."),
    ("features.0.bias", np.zeros(64), "float32 (64,); got float64 (64,)."),
    ("fc.bias", np.full(3, np.nan, "f"), "finite; got nan at (0,)."),
]
REFUSED += [(("haomood", {k: v}, {}), f"tensor '{k}' must be {words}") for k, v, words in WRONG]


@pytest.mark.parametrize(("file", "words"), REFUSED)
def test_wrong_checkpoint_is_refused_with_the_cause(file, words: str) -> None:
    layout, changes, options = file
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read(state(layout, **changes), **{"layout": layout, "path": "folder/a.pth"} | options)
    assert str(caught.value).startswith("import folder/a.pth: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(b"12")
    with pytest.raises(ValueError, match=r"must hold a state_dict; got builtins\.list"):
        read([], "haomood")
    words = r"a\.pth\.tar: PyTorch's own files.*; got a\.pth\.tar\. Convert it there once"
    for path, options, message in (
        ("a.pth.tar", {"read_pth": None}, words),
        ("a.npz", {}, r"must be a \.safetensors or one of .*; got a\.npz"),
        (cut, {}, r"cut\.safetensors: the file must be a complete"),
    ):
        with pytest.raises(ValueError, match=message):
            read({}, "umass", path, **options)
    with pytest.raises(FileNotFoundError):
        read({}, "umass", tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbones": ("vgg16", ("vgg16", "vgg16"))}, "at most the 1 of streams; got ('vgg16', "),
        ({"order": "rows"}, "order must be 'row-major' or 'column-major'; got 'rows'"),
        ({"pooling": "nobody"}, "name must be one of default, paper"),
        ({"pooling": "fast-mpn-cbp"}, "must be a preset without tensors; got 'fast-mpn"),
        ({"pooling": "lrbp"}, "must be a preset without tensors; got 'lrbp'"),
        (
            {"streams": ("a.", "b."), "pooling": "isqrt-cov", "backbones": (("vgg16", "vgg16"),)},
            "CovariancePool takes one map; got 2",
        ),
    ],
)
def test_invalid_layouts_are_refused(options, words) -> None:
    given = {"streams": ("features.",), "classifier": "fc.", "pooling": "umass"}
    with pytest.raises(ValueError, match=re.escape(words)):
        Layout(**given | options)
