"""PyTorch operators, layers and models in `torch.fx`, `torch.export` and ONNX."""

import importlib
import importlib.util
import io

import numpy as np
import pytest

from ..subjects import PRESENT
from ..tolerances import RECOMPUTED

if "torch" not in PRESENT:
    pytest.skip("PyTorch is not installed", allow_module_level=True)

torch = importlib.import_module("torch")
bilinear = importlib.import_module("bilinear.torch")

CHANNELS, DIM = 6, 8
LAYERS = {  # label -> class, its arguments, number of feature maps
    "AveragePool": ("AveragePool", {}, 1),
    "BilinearPool": ("BilinearPool", {}, 1),
    "two streams": ("BilinearPool", {}, 2),
    "packed": ("BilinearPool", {"packed": True}, 1),
    "other forms": ("BilinearPool", {"root": "shifted", "norm": "added"}, 1),
    "tensor sketch": ("CompactBilinearPool", {"channels": CHANNELS, "dim": DIM}, 1),
    "random Maclaurin": (
        "CompactBilinearPool",
        {"channels": CHANNELS, "dim": DIM, "method": "random_maclaurin"},
        1,
    ),
    "CovariancePool": ("CovariancePool", {}, 1),
    "ImprovedBilinearPool": ("ImprovedBilinearPool", {}, 1),
    "LowRankBilinearPool": ("LowRankBilinearPool", {"channels": CHANNELS, "dim": DIM}, 1),
    "LowRankBilinearClassifier": (
        "LowRankBilinearClassifier",
        {"channels": CHANNELS, "num_classes": 3},
        1,
    ),
    "HierarchicalBilinearPool": (
        "HierarchicalBilinearPool",
        {"channels": [CHANNELS, CHANNELS], "dim": DIM},
        2,
    ),
    "DemocraticPool": ("DemocraticPool", {}, 1),
    "OuterMaxPool": ("OuterMaxPool", {}, 1),
    "Projection": ("Projection", {"channels": CHANNELS, "dim": 4, "activation": "relu"}, 1),
}
over_layers = pytest.mark.parametrize("label", LAYERS)


class Head(torch.nn.Module):
    """A model that contains a layer; `torch.onnx` fails on a root with keyword-only arguments."""

    def __init__(self, layer, streams: int) -> None:
        super().__init__()
        self.pool, self.streams = layer, streams
        self.projections = torch.nn.ModuleList(
            torch.nn.Conv2d(3, CHANNELS, 1) for _ in range(streams)
        )

    def forward(self, x):
        return self.pool(*(project(x) for project in self.projections))


def head(label: str) -> Head:
    name, arguments, streams = LAYERS[label]
    torch.manual_seed(0)
    return Head(getattr(bilinear, name)(**arguments), streams).eval()


def maps(samples: int = 2, height: int = 5) -> "torch.Tensor":
    return torch.rand(samples, 3, height, 2, generator=torch.Generator().manual_seed(samples))


def assert_same(result, expected) -> None:
    result, expected = (np.asarray(t.detach()) for t in (result, expected))
    np.testing.assert_allclose(result, expected, **RECOMPUTED)


@over_layers
def test_a_layer_is_one_node_of_a_traced_graph(label: str) -> None:
    model = head(label)
    graph = torch.fx.symbolic_trace(model)
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"][-1] == "pool"
    assert not [node for node in graph.graph.nodes if node.op.startswith(("call_f", "call_m"))][
        len(model.projections) + 1 :
    ]
    assert graph.state_dict().keys() == model.state_dict().keys()
    assert_same(graph(maps()), model(maps()))


OPERATORS = {
    "bilinear_pool": lambda f, x: f(x, mask=x[..., 0] > 0.1, packed=True),
    "covariance_sqrt": lambda f, x: f(x),
    "hadamard_pool": lambda f, x: f(x, x),
    "low_rank_pool": lambda f, x: f(x=x, u=x[0, :4].T, v=x[0, :4].T),
    "tensor_sketch": lambda f, x: f(x, tables=bilinear.sketch_tables(CHANNELS, None, DIM)),
    "half_vectorize": lambda f, x: f(torch.bmm(x, x.transpose(1, 2))),
}
"""Operators that take masks, several arrays, weights, tables, or matrices."""


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_one_node_of_a_traced_graph(name: str) -> None:
    x, operator = torch.rand(2, 7, CHANNELS), getattr(bilinear, name)
    graph = torch.fx.symbolic_trace(lambda x: OPERATORS[name](operator, x))
    targets = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert targets.count(operator) == 1
    assert_same(graph(x), OPERATORS[name](operator, x))


def models() -> dict[str, "torch.nn.Module"]:
    """Named and custom backbones, one and two streams, whose maps have equal or other sizes."""

    def stream(stride: int) -> "torch.nn.Module":
        return torch.nn.Conv2d(3, CHANNELS, 3, stride)

    torch.manual_seed(0)
    same, other = (
        bilinear.BCNN(stream(1), 3, backbone_b=stream(s), channels=CHANNELS) for s in (1, 2)
    )
    resnet = bilinear.BCNN("resnet18", 3, projection=4, pool="CovariancePool")
    return {"resnet18": resnet, "two streams": same, "resampled": other}


def test_models_are_traced() -> None:
    x = torch.rand(2, 3, 33, 35)
    for name, model in models().items():
        graph = torch.fx.symbolic_trace(model.eval())
        assert "pool" in {node.target for node in graph.graph.nodes}, name
        assert_same(graph(x), model(x))


@pytest.mark.filterwarnings("ignore")  # of the exporters
def test_prepare_fx_observes_a_model() -> None:
    """The observers of quantization are put around the pool, and do not change the values."""
    quantize = importlib.import_module("torch.ao.quantization.quantize_fx")
    settings = importlib.import_module("torch.ao.quantization").get_default_qconfig_mapping()
    model, x = models()["two streams"].eval(), torch.rand(2, 3, 9, 9)
    prepared = quantize.prepare_fx(model, settings, (x,))
    assert_same(prepared(x), model(x))


def test_torchvision_extracts_the_descriptor() -> None:
    extraction = pytest.importorskip("torchvision.models.feature_extraction")
    model, x = models()["two streams"].eval(), torch.rand(2, 3, 9, 9)
    extractor = extraction.create_feature_extractor(model, ["pool"])
    assert_same(extractor(x)["pool"], model.descriptors(x))


ONE_IMAGE = ("BilinearPool", "OuterMaxPool")


@pytest.mark.parametrize(
    "label",
    [*ONE_IMAGE, *(pytest.param(n, marks=pytest.mark.full) for n in LAYERS if n not in ONE_IMAGE)],
)
def test_one_example_image_gives_any_batch_size(label: str) -> None:
    """Where PyTorch allows it: by default, a batch of 1 is a constant of every program."""
    config = pytest.importorskip("torch.fx.experimental._config")
    if not hasattr(config, "backed_size_oblivious"):
        pytest.skip("this PyTorch has no such programs")
    model, sizes = head(label), ({0: torch.export.Dim("n")},)
    with config.patch(backed_size_oblivious=True):
        program = torch.export.export(model, (maps(1),), dynamic_shapes=sizes)
    for samples in (1, 3):
        assert_same(program.module()(maps(samples)), model(maps(samples)))


LACKING = {"aten::mT", "aten::triu_indices", "aten::threshold_backward"}
"""Operations that the older exporter of ONNX does not know."""


@pytest.mark.filterwarnings("ignore")  # of the tracer
@over_layers
def test_a_traced_layer_has_no_operation_that_onnx_lacks(label: str) -> None:
    model = head(label)
    traced = torch.jit.trace(model, (maps(),))
    assert not LACKING & {node.kind() for node in traced.inlined_graph.nodes()}
    x = maps(3, height=6)
    assert_same(traced(x), model(x))


def torchscript_onnx(model, x) -> bytes:
    """ONNX of PyTorch's older exporter, with dynamic sizes."""
    file, axes = io.BytesIO(), {"x": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        model, (x,), file, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17
    )
    return file.getvalue()


def default_onnx(model, x) -> bytes:
    """ONNX of PyTorch's default exporter, with dynamic sizes."""
    pytest.importorskip("onnxscript")
    sizes = {axis: torch.export.Dim(name) for axis, name in ((0, "n"), (2, "h"), (3, "w"))}
    program = torch.onnx.export(
        model, (x,), dynamo=True, input_names=["x"], dynamic_shapes=(sizes,), verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    return file.getvalue()


class Unpooled(torch.nn.Module):
    """The sketch of every location."""

    def forward(self, x):
        tables = bilinear.sketch_tables(3, None, DIM)
        locations = x.flatten(2).transpose(1, 2)
        return bilinear.tensor_sketch(locations, tables=tables, reduction="none")


def check_onnx(write, label: str) -> None:
    pytest.importorskip("onnx")
    model = Unpooled() if label == "unpooled sketch" else head(label)
    data = write(model, maps())
    if importlib.util.find_spec("onnxruntime"):
        session = importlib.import_module("onnxruntime").InferenceSession(data)
        x = maps(3, height=6)
        (result,) = session.run(None, {"x": x.numpy()})
        assert_same(torch.from_numpy(result), model(x))


@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("label", [*LAYERS, "unpooled sketch"])
def test_onnx_of_the_older_exporter(label: str) -> None:
    """Of any batch size and image size."""
    check_onnx(torchscript_onnx, label)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("label", [*LAYERS, "unpooled sketch"])
def test_onnx_of_the_default_exporter(label: str) -> None:
    check_onnx(default_onnx, label)


@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize(
    "write", [torchscript_onnx, pytest.param(default_onnx, marks=pytest.mark.full)]
)
def test_the_eigen_root_is_refused_before_the_export(write) -> None:
    model = Head(bilinear.CovariancePool("eigen"), 1)
    with pytest.raises(Exception, match=r"ONNX has no eigenvectors.*; got 'eigen'\. Use"):
        write(model, maps())


@pytest.mark.parametrize("dim", [1, 2, 7, 8])
def test_the_convolution_without_complex_numbers(dim: int) -> None:
    module = importlib.import_module("bilinear.backends.torch.tensor_sketch")
    a, b = torch.rand(2, 2, 3, dim, dtype=torch.float64)
    expected = torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b), n=dim)
    assert_same(module._real_convolution(a, b), expected)
