"""The arguments and methods of `BCNN` that one framework's users expect."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..subjects import PRESENT, driver
from .test_models import images

needs_torch = pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch")
CASE: dict[str, Any] = {"taps": ("relu1_1",), "projection": 8}


@pytest.mark.parametrize("backend", PRESENT)
def test_every_argument_is_documented(backend: str) -> None:
    """In the class and in the functions of files; arguments after the second are keyword-only."""
    namespace = __import__(f"bilinear.{backend}", fromlist=["BCNN"])
    functions = (namespace.load, namespace.save, namespace.load_image, namespace.import_checkpoint)
    for thing in (namespace.BCNN, *functions):
        signature = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing)
        text = inspect.getdoc(thing) or ""
        _, _, arguments = text.partition("Args:\n")
        for position, (name, parameter) in enumerate(signature.parameters.items()):
            if name not in ("self", "args", "kwargs"):
                assert f"    {name}: " in arguments, (thing, name)
                assert position < 3 or parameter.kind is parameter.KEYWORD_ONLY, (thing, name)


@needs_torch
def test_device_and_dtype_of_torch() -> None:
    torch = pytest.importorskip("torch")
    model = driver("torch").model
    for given, expected in ((torch.float64, torch.float64), ("bfloat16", torch.bfloat16)):
        made = model("vgg16", 3, dtype=given, **CASE)
        assert {p.dtype for p in made.parameters()} == {expected}
    torch.set_default_dtype(torch.float64)
    try:
        assert {p.dtype for p in model("vgg16", 3, **CASE).parameters()} == {torch.float64}
    finally:
        torch.set_default_dtype(torch.float32)
    from bilinear.torch import BCNN  # noqa: PLC0415 - only where PyTorch is

    made = BCNN("vgg16", 3, device="meta", pool="hawkeye-cbp", **CASE)
    assert {t.device.type for t in (*made.parameters(), *made.buffers())} == {"meta"}
    made.reset_classifier(2)
    assert made.classifier.weight.device.type == "meta"
    with pytest.raises(ValueError, match="a model must have its tensors; got tensors without val"):
        driver("torch").save(made, "unused")
    register = torch.nn.Module.register_parameter

    def register_empty(module, name, parameter):  # as Accelerate's init_empty_weights
        register(
            module, name, None if parameter is None else torch.nn.Parameter(parameter.to("meta"))
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "register_parameter", register_empty)
        made = BCNN("vgg16", 3, **CASE)
    assert made.projection.weight.is_meta
    with pytest.raises(ValueError, match=r"dtype must be one of float16, .*got 'int32'"):
        model("vgg16", 3, dtype=torch.int32, **CASE)


@needs_torch
def test_methods_of_timm() -> None:
    torch = pytest.importorskip("torch")
    namespace = __import__("bilinear.torch", fromlist=["BCNN"])
    x = torch.from_numpy(images(2, (16, 20), "float32")).movedim(-1, 1)
    model = namespace.BCNN("vgg16", 3, **CASE).eval()
    features = model.forward_features(x)
    assert features.shape == (2, 64, 16, 20)
    assert torch.equal(model.forward_head(features), model(x))
    assert torch.equal(model.forward_head(features, pre_logits=True), model.descriptors(x))
    assert model.get_classifier() is model.classifier
    model.train()
    model.reset_classifier(4)
    assert model.get_classifier().weight.shape == (4, 64)
    assert model.get_classifier().training
    two = namespace.BCNN("vgg16", 3, taps=("relu1_1", "relu1_2")).eval()
    maps = two.forward_features(x)
    assert isinstance(maps, tuple)
    assert torch.equal(two.forward_head(maps), two(x))
    scores = namespace.BCNN("vgg16", 3, pool="lrbp", **CASE)
    assert scores.get_classifier() is scores.pool
    with pytest.raises(ValueError, match="descriptors need a pool that is followed by a linear"):
        scores.forward_head(scores.forward_features(x), pre_logits=True)


@needs_torch
def test_reset_of_a_custom_pool_that_gives_logits() -> None:
    torch = pytest.importorskip("torch")

    class Mean(torch.nn.Linear):
        num_classes = 3

        def forward(self, x: Any) -> Any:
            return super().forward(x.mean((2, 3)))

    model = driver("torch").model("vgg16", 3, pool=Mean(8, 3), **CASE)
    with pytest.raises(TypeError, match="must be linear, or a pool of this package; got a Mean"):
        model.reset_classifier(4)


@pytest.mark.skipif("jax" not in PRESENT, reason="Flax")
def test_rngs_of_flax() -> None:
    """Equal streams give equal weights, and win over the seed."""
    nnx = pytest.importorskip("flax.nnx")

    def weight(**options: Any) -> np.ndarray:
        model = driver("jax").model("vgg16", 3, **CASE, **options)
        return driver("jax").tensors(model)["classifier.weight"]

    first = weight(rngs=nnx.Rngs(3))
    np.testing.assert_array_equal(weight(rngs=nnx.Rngs(3), seed=9), first)
    assert (weight(rngs=nnx.Rngs(4)) != first).any()
    rngs = nnx.Rngs(3)
    weight(rngs=rngs)
    assert (weight(rngs=rngs) != first).any()


@needs_torch
def test_wrapped_models_are_saved(tmp_path: Path) -> None:
    """Their files are those of the model."""
    torch = pytest.importorskip("torch")
    namespace = __import__("bilinear.torch", fromlist=["BCNN"])
    model, path = namespace.BCNN("vgg16", 3, **CASE), tmp_path / "model.safetensors"
    namespace.save(model, path)
    content = path.read_bytes()
    compiled = torch.compile(model, backend="eager")
    for wrapped in (
        torch.nn.DataParallel(model),
        torch.optim.swa_utils.AveragedModel(model),
        compiled,
        torch.nn.DataParallel(compiled),
    ):
        namespace.save(wrapped, path)
        assert path.read_bytes() == content, type(wrapped)
    model.backbone = torch.compile(model.backbone, backend="eager")
    model.classifier = torch.compile(model.classifier, backend="eager")
    namespace.save(model, path)
    assert path.read_bytes() == content
    for other in (torch.nn.Sequential(model), model.backbone, None):
        with pytest.raises(
            TypeError, match=r"model must be a bilinear\.torch\.BCNN; got .*\. Pass"
        ):
            namespace.save(other, path)


@needs_torch
def test_a_changed_classifier_is_saved_if_it_is_linear(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    namespace = __import__("bilinear.torch", fromlist=["BCNN"])
    nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")
    x, path = torch.rand(2, 3, 16, 16), tmp_path / "model.safetensors"
    model = namespace.BCNN("vgg16", 3, **CASE).eval()
    for bias in True, False:
        model.classifier = nn.Linear(64, 5, bias=bias)
        namespace.save(model, path, classes=list("abcde"))
        assert torch.equal(namespace.load(path)(x), model(x))
    with pytest.raises(ValueError, match="classes must be 5 different names"):
        namespace.save(model, path, classes=["a", "b", "c"])
    for changed, words in (
        (nn.Sequential(nn.Dropout(), nn.Linear(64, 5)), r"Sequential with .*classifier\.1\.weight"),
        (nn.Identity(), "Identity with the tensors none"),
        (prune.l1_unstructured(nn.Linear(64, 5), "weight", 0.5), r"classifier\.weight_orig"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(64, 5)), "ParametrizedLinear"),
        (nn.Linear(63, 5), r"classifier\.weight' must be float32 \(5, 64\); got float32 \(5, 63"),
    ):
        model.classifier = changed
        with pytest.raises((TypeError, ValueError), match=words):
            namespace.save(model, path)
    model.reset_classifier(5)
    for part in (model.projection, model.backbone.features[0]):
        prune.l1_unstructured(part, "weight", 0.5)
        with pytest.raises(
            ValueError, match=r"weight' must be there.*weight_orig.*pruning and wei"
        ):
            namespace.save(model, path)
        prune.remove(part, "weight")
    namespace.save(model, path)
    assert torch.equal(namespace.load(path)(x), model(x))


@pytest.mark.skipif("jax" not in PRESENT, reason="JAX")
def test_a_linear_layer_of_flax_is_saved(tmp_path: Path) -> None:
    nnx = pytest.importorskip("flax.nnx")
    namespace = __import__("bilinear.jax", fromlist=["BCNN"])
    x, path = images(2, (16, 16), "float32"), tmp_path / "model.safetensors"
    model, rngs = namespace.BCNN("vgg16", 3, **CASE), nnx.Rngs(0)
    for bias in True, False:
        model.classifier = nnx.Linear(64, 5, use_bias=bias, rngs=rngs)
        namespace.save(model, path)
        np.testing.assert_array_equal(namespace.load(path)(x), model(x))
    model.classifier = nnx.Sequential(nnx.Linear(64, 5, rngs=rngs))
    with pytest.raises(TypeError, match=r"must be a flax\.nnx\.Linear; got a .*Sequential with"):
        namespace.save(model, path)
    model.reset_classifier(4)
    assert model(x).shape == (2, 4)


@needs_torch
def test_every_module_takes_backward_hooks() -> None:
    """PyTorch refuses them where a module changes its input in place."""
    torch = pytest.importorskip("torch")
    called: set[Any] = set()
    for backbone in "vgg16", "resnet18":
        model = driver("torch").model(backbone, 3, projection=8)
        for module in model.modules():
            module.register_full_backward_hook(lambda module, *_: called.add(module))
        model(torch.rand(2, 3, 64, 64, requires_grad=True)).sum().backward()
        assert called >= set(model.modules())
